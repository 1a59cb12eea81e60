"""The faults of a spec file, each with its place, the value and the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.errors import CallerError
from imagemill.spec.contradictions import Contradiction, ContradictionError
from imagemill.spec.introspection import fields_at, sections_with, source_kinds
from imagemill.spec.yaml import Document, KeyPath, Place

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to change in a spec file.

    Attributes:
        path: The file.
        line: Line, from 1.
        column: Column, from 1.
        key: Where in the spec, such as `splits.fractions.train` or `labels.names[3]`; "" for the file as a whole.
        value: The value as the file has it, shortened; "" where there is none.
        problem: What is wrong, as a sentence.
        fix: What to do, as a sentence.
    """

    path: Path
    line: int
    column: int
    key: str
    value: str
    problem: str
    fix: str

    def __str__(self) -> str:
        """The fault as three lines, of which the first starts with `path:line:column`."""
        head = f"{self.path}:{self.line}:{self.column}" + (f": {self.key}" if self.key else "")
        return f"{head}\n    {self.problem}\n    {self.fix}"


class SpecError(CallerError):
    """A spec file that cannot be used, with everything that is wrong with it.

    Attributes:
        path: The file.
        faults: In the order of the file.
    """

    def __init__(self, path: Path, faults: Iterable[Fault]) -> None:
        self.path = path
        self.faults = sorted(faults, key=lambda fault: (fault.line, fault.column))
        count = "a fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{path} has {count}.", *map(str, self.faults)]))


def text_faults(path: Path, document: Document) -> Iterator[Fault]:
    """Yields the faults of the text: syntax, duplicate keys, variables."""
    for fault in document.faults:
        yield Fault(path, *fault.place, dotted(fault.path), fault.value, fault.problem, fault.fix)


def contradiction_fault(path: Path, document: Document, found: Contradiction, at: KeyPath = ()) -> Fault:
    """Returns the fault for a contradiction; `at` is where validation met it."""
    return _fault(path, document, found.key or at, found.problem, found.fix)


def model_faults(
    path: Path, document: Document, errors: Iterable[ErrorDetails], *, inside: KeyPath = ()
) -> Iterator[Fault]:
    """Translates pydantic's errors about the part at `inside`; values that have a fault already are left out."""
    told: set[KeyPath] = set()
    located = [(path_of(error, inside=inside), error) for error in errors]
    for at, error in located:
        if error["type"] == "too_short" and any(other[: len(at)] == at for other, _ in located if other != at):
            continue  # pydantic counts only the good items, and says so beside the bad ones
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, ContradictionError):
            if at and any(known[: len(at)] == at for known in document.broken):
                continue  # it may only seem one, since a broken value stands as None
            yield from (contradiction_fault(path, document, each, at) for each in cause.contradictions)
        elif at not in told and not any(at[: len(known)] == known for known in document.broken):
            told.add(at)
            yield _fault(path, document, at, *_advice(error, at, document))


def dotted(path: KeyPath) -> str:
    """Writes a key path as people do: `labels.names[3]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "Did you mean …? " if a known word is near, else ""."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`? " if near else ""


def _fault(path: Path, document: Document, at: KeyPath, problem: str, fix: str) -> Fault:
    text = document.texts.get(at, "")
    return Fault(path, *_place(document, at), dotted(at), _short(text), problem, fix)


def _place(document: Document, at: KeyPath) -> Place:
    """Returns where the value's key stands; for what is not in the file, where its nearest parent does."""
    for length in range(len(at), -1, -1):
        if place := document.keys.get(at[:length]):
            return place
    return Place(1, 1)


def path_of(error: ErrorDetails, *, inside: KeyPath = ()) -> KeyPath:
    """Returns where in the file pydantic's location is, without the names of union members and of key checks."""
    at = (*inside, *error["loc"])
    if at[:1] == ("source",):
        # After the discriminated union comes the kind of source, which is no key.
        at = ("source", *at[2:]) if len(at) > 1 else at
        if error["type"].startswith("union_tag"):
            at = ("source", "type")
    if at[:2] == ("conversion", "runner_options"):
        at = at[:3]
    return tuple(part for part in at if part != "[key]")


def _advice(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    """Returns the problem and the fix."""
    kind = error["type"]
    if kind in _ADVICE:
        return _ADVICE[kind](error, at, document)
    if kind in _LIMITS:
        value = _shown(error, at, document)
        share = " Shares run from 0 to 1: five per cent is 0.05." if error["ctx"].get("le") == 1 else ""
        return f"{value} is out of range.", f"It must be {_LIMITS[kind].format(**error['ctx'])}.{share}"
    return _wrong_type(error, at, document)


_LIMITS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}


def _unknown_key(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    name = str(at[-1])
    where = f"`{dotted(at[:-1])}`" if at[:-1] else "a spec"
    known = fields_at(at[:-1], document.value)
    problem = f"There is no key `{name}` in {where}."
    if hint := did_you_mean(name, known):
        return problem, hint.rstrip()
    if elsewhere := [section for section in sections_with(name) if section != dotted(at[:-1])]:
        return problem, f"It belongs under `{elsewhere[0] or 'the top level'}`."
    return problem, f"The keys here are {', '.join(known)}."


def _missing(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    name = str(at[-1])
    where = f" in `{dotted(at[:-1])}`" if at[:-1] else ""
    field = fields_at(at[:-1], document.value).get(name)
    meaning = (field.description or "").partition("\n")[0] if field else ""
    return f"`{name}` is missing{where}.", f"Add `{name}: …`" + (f" ({meaning.rstrip('.')})." if meaning else ".")


def _no_kind(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    kinds = source_kinds()
    fix = f"Write `type: {'`, `type: '.join(kinds[:-1])}` or `type: {kinds[-1]}`."
    if error["type"] == "union_tag_not_found":
        return "The source does not say what kind it is.", fix
    tag = str(error["ctx"]["tag"])
    return f"There is no kind of source `{tag}`.", did_you_mean(tag, kinds) + fix


def _not_among(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    allowed = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
    choices = ", ".join(f"`{each}`" if each else '`""`' for each in allowed)
    value = error["input"]
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    # Of a wrong key, the text in the file at its place is the value.
    shown = f"`{_short(str(value))}`" if error["loc"][-1:] == ("[key]",) else _shown(error, at, document)
    return f"{shown} is none of the choices.", f"{hint}Use {_or(choices)}."


def _or(choices: str) -> str:
    head, comma, last = choices.rpartition(", ")
    return f"{head} or {last}" if comma else last


def _pattern(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    value = str(error["input"])
    if at == ("source", "sha256"):
        return f"{_shown(error, at, document)} is no SHA-256 checksum.", "Give its 64 lower-case hexadecimal digits."
    longest = 63 if at == ("name",) else 32
    made = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_0123456789")[:longest]
    fix = f"Use lower-case letters, digits and underscores, a letter first, at most {longest}"
    return f"{_shown(error, at, document)} cannot be a name.", f"{fix}: `{made}`." if made else f"{fix}."


def _wrong_type(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    wanted, example = _WANTED.get(error["type"], ("something else", ""))
    if at[:2] == ("conversion", "runner_options") and len(at) > 2:
        wanted, example = "a text, a number, true or false, or a list of texts", ""
    value = error["input"]
    if value is None and error["type"] in (
        "model_type",
        "model_attributes_type",
        "dict_type",
        "list_type",
        "tuple_type",
    ):
        return "Nothing stands under this key.", "Fill it in, or drop the key to have its defaults."
    text = document.texts.get(at, "")
    if error["type"] == "string_type" and text and (value is None or isinstance(value, bool | int | float)):
        kind = "nothing" if value is None else "a boolean" if isinstance(value, bool) else "a number"
        return f"YAML reads `{text}` as {kind}, and {wanted} is wanted here.", f'Quote it: "{text}".'
    if isinstance(value, str) and error["type"] in ("int_type", "float_type") and re.fullmatch(r"-?[\d_.]+", value):
        return f'"{value}" is in quotes, and {wanted} is wanted here.', f"Drop the quotes: `{value}`."
    if isinstance(value, str) and error["type"] in ("list_type", "tuple_type"):
        return f"{_shown(error, at, document)} stands here alone, and {wanted} is wanted.", f"Write `[{value[:60]}]`."
    return f"{_shown(error, at, document)} stands where {wanted} is wanted.", example or "See docs/spec.md."


_WANTED = {
    "string_type": ("a text", "Write one text."),
    "int_type": ("a whole number", "Write it in digits, such as 1000."),
    "int_from_float": ("a whole number", "Drop the fraction."),
    "float_type": ("a number", "Write it in digits, such as 0.05."),
    "list_type": ("a list", "Write `[first, second]`, or a line `- item` for each."),
    "tuple_type": ("a list", "Write `[first, second]`, or a line `- item` for each."),
    "dict_type": ("a mapping", "Write `key: value` lines, indented under it."),
    "model_type": ("a mapping", "Write `key: value` lines, indented under it."),
    "model_attributes_type": ("a mapping", "Write `key: value` lines, indented under it."),
}


def _shown(error: ErrorDetails, at: KeyPath, document: Document) -> str:
    """Returns the value as the file has it, shortened; what a collection is, in words."""
    value = error["input"]
    if isinstance(value, Mapping):
        return "A mapping"
    if isinstance(value, list | tuple):
        return "A list"
    if value is None:
        return "An empty value"
    text = document.texts.get(at, str(value))
    shown = f"`{_short(text)}`"
    return f"{shown} (here `{_short(str(value))}`)" if "${" in text else shown


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def _too_few(error: ErrorDetails, at: KeyPath, document: Document) -> tuple[str, str]:
    return "The list is empty.", "Name at least one, or drop the key to have the default."


_Advice = Callable[["ErrorDetails", KeyPath, Document], tuple[str, str]]
_ADVICE: dict[str, _Advice] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "union_tag_invalid": _no_kind,
    "union_tag_not_found": _no_kind,
    "literal_error": _not_among,
    "string_pattern_mismatch": _pattern,
    "too_short": _too_few,
}
