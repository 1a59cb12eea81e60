"""`${VAR}` in a spec: expansion from the environment, by the shell's rules for the forms that specs need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NESTING = 10


class VariableError(ValueError):
    """A variable that cannot be expanded.

    Attributes:
        problem: What is wrong, naming the variable.
        fix: What to do about it.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem} {fix}")
        self.problem = problem
        self.fix = fix


class Expanded(NamedTuple):
    """Text after expansion.

    Attributes:
        text: The text with every variable replaced.
        whole: Whether the text was one variable and nothing else, so that its value keeps YAML's typing.
    """

    text: str
    whole: bool


def expand(text: str, variables: Mapping[str, str]) -> Expanded:
    """Replaces `${VAR}` and `${VAR:-default}` (used where VAR is unset or empty; it may hold variables itself).

    `$${` stands for a literal `${`. Any other `$` stays as it is.

    Raises:
        VariableError: A variable is unset and has no default, or its braces are malformed.
    """
    if "${" not in text:
        return Expanded(text, whole=False)
    return _expand(text, variables, depth=0)


def _expand(text: str, variables: Mapping[str, str], depth: int) -> Expanded:
    if depth > _MAX_NESTING:
        raise VariableError(f"Variables are nested more than {_MAX_NESTING} deep.", "Flatten their defaults.")
    parts: list[str] = []
    position, whole = 0, False
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            parts += [text[position : start - 1], "${"]
            position = start + 2
            continue
        end = _closing_brace(text, start + 2)
        whole = (start, end) == (0, len(text) - 1)
        parts += [text[position:start], _value(text[start + 2 : end], variables, depth)]
        position = end + 1
    return Expanded("".join([*parts, text[position:]]), whole)


def _closing_brace(text: str, position: int) -> int:
    depth = 1
    while depth:
        found = re.compile(r"\$\{|\}").search(text, position)
        if found is None:
            raise VariableError(
                "A `${` is never closed.", "Close it with `}`, or write `$${` if the text really contains `${`."
            )
        depth += 1 if found.group() == "${" else -1
        position = found.end()
    return position - 1


def _value(inside: str, variables: Mapping[str, str], depth: int) -> str:
    name, colon, default = inside.partition(":-")
    if not _NAME.fullmatch(name):
        raise VariableError(
            f"`${{{inside}}}` is no variable.",
            "Write `${VAR}` or `${VAR:-default}`, or `$${` if the text really contains `${`.",
        )
    value = variables.get(name, "")
    if colon and not value:
        return _expand(default, variables, depth + 1).text
    if name not in variables:
        raise VariableError(
            f"The environment variable `{name}` is not set.",
            f"Set it, or give a default here: `${{{name}:-default}}`.",
        )
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise VariableError(
            f"The environment variable `{name}` holds bytes that are not UTF-8.", "Set it to UTF-8 text."
        )
    return value
