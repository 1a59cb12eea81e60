"""YAML with a memory: plain values, and for each of them where it stands in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from imagemill.spec.variables import VariableError, expand

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""

_MAX_DEPTH = 30
"""libyaml's composer recurses in C without a limit of its own: a file of brackets would crash the process."""
_MAX_VALUES = 20_000
_MAX_NUMBER = 1 << 63
_CORE = ("null", "bool", "int", "float", "str", "seq", "map")

# No field of a spec is a date, and a description that reads 2026-01-31 is text. `=` has no meaning here either.
_NOT_RESOLVED = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}


class Place(NamedTuple):
    """A position in the file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlFault:
    """Something wrong with the text itself, before it means anything."""

    place: Place
    path: KeyPath
    value: str
    problem: str
    fix: str


@dataclass(slots=True)
class Document:
    """A parsed file.

    Attributes:
        value: Plain values: dict, list, str, int, float, bool, None. A value that has a fault of its own is None.
        keys: Where each key (or list item) stands.
        values: Where each value stands.
        texts: Each scalar as it is written in the file.
        faults: What was wrong with the text.
        broken: Values that have a fault of their own.
    """

    value: Any = None
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    texts: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[YamlFault] = field(default_factory=list)
    broken: set[KeyPath] = field(default_factory=set)


def read_document(text: str, variables: Mapping[str, str]) -> Document:
    """Parses one YAML document, expanding variables in its scalars; raises nothing, faults are part of the result."""
    document = Document()
    if unprintable := Reader.NON_PRINTABLE.search(text):
        place = _place_of_offset(text, unprintable.start())
        problem = f"The character U+{ord(unprintable.group()):04X} cannot stand in YAML."
        document.faults.append(YamlFault(place, (), "", problem, "Remove it; it is invisible in most editors."))
        return document
    try:
        _refuse_depth(text)
        root = yaml.CSafeLoader(text).get_single_node()
        if root is not None:
            _Builder(document, variables).build(root)
    except yaml.MarkedYAMLError as error:
        document.faults.append(_syntax_fault(error, text.splitlines()))
    return document


class _LimitError(yaml.MarkedYAMLError):
    """More nesting or more values than any spec has."""

    def __init__(self, problem: str, at: yaml.Event | yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=at.start_mark)  # type: ignore[arg-type]


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise _LimitError(f"nested more than {_MAX_DEPTH} deep", event)


class _Builder:
    """Turns nodes into values, noting where each came from."""

    def __init__(self, document: Document, variables: Mapping[str, str]) -> None:
        self._document = document
        self._variables = variables
        self._loader = yaml.CSafeLoader("")
        self._count = 0

    def build(self, root: yaml.Node) -> None:
        self._document.keys[()] = _place(root)
        self._document.value = self._value(root, ())

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count += 1
        # Aliases multiply: a value is counted each time it is used, and a cycle is deeper than any limit.
        if self._count > _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise _LimitError("more than any spec holds, once its aliases (`*name`) are unfolded", node)
        self._document.values[path] = _place(node)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in _CORE and node.tag not in _NOT_RESOLVED and kind != "merge":
            return self._unreadable(node, path, f"The tag `{node.tag}` means nothing in a spec.", "Drop the tag.")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for position, item in enumerate(node.value):
                self._document.keys[(*path, position)] = _place(item)
                items.append(self._value(item, (*path, position)))
            return items
        return self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None

    def _fault(self, node: yaml.Node, path: KeyPath, problem: str, fix: str) -> None:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        self._document.faults.append(YamlFault(_place(node), path, text[:60], problem, fix))

    def _unreadable(self, node: yaml.Node, path: KeyPath, problem: str, fix: str) -> None:
        """Notes a fault of a value, which is None from here on."""
        self._document.broken.add(path)
        self._fault(node, path, problem, fix)

    def _no_key(self, node: yaml.Node, path: KeyPath, problem: str, fix: str) -> None:
        """Notes a key that cannot be one; what its mapping lacks for want of it is no second fault."""
        if path:
            self._document.broken.add(path)
        self._fault(node, path, problem, fix)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: dict[str, Place] = {}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged += self._merged(value, path)
            elif (name := self._key(key, path)) is None:
                continue
            elif name in own:
                problem = f"The key `{name}` is here twice; the first is in line {own[name].line}."
                self._fault(key, (*path, name), problem, "Keep one of them.")
            else:
                own[name] = self._document.keys[(*path, name)] = _place(key)
                result[name] = self._value(value, (*path, name))
        for key, value in merged:
            name = self._key(key, path)
            if name is not None and name not in result:
                self._document.keys[(*path, name)] = _place(key)
                result[name] = self._value(value, (*path, name))
        return result

    def _merged(self, node: yaml.Node, path: KeyPath) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yields the pairs that `<<: *base` or `<<: [*a, *b]` brings in; the first to name a key wins."""
        for base in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            self._count += 1
            if not isinstance(base, yaml.MappingNode) or any(
                key.tag == "tag:yaml.org,2002:merge" for key, _ in base.value
            ):
                self._fault(base, path, "`<<` merges one plain mapping or a list of them.", "Write `<<: *name`.")
            else:
                yield from base.value

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._no_key(node, path, "A list or a mapping cannot be a key.", "Use a plain word as the key.")
            return None
        if node.tag != "tag:yaml.org,2002:str" and node.tag not in _NOT_RESOLVED:
            kind = node.tag.rpartition(":")[2]
            problem = f"YAML reads the key `{node.value}` as {_KINDS.get(kind, 'something else')}, not as text."
            self._no_key(node, path, problem, f'Quote it: "{node.value}".')
            return None
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        self._document.texts[path] = node.value
        try:
            text, whole = expand(node.value, self._variables)
        except VariableError as error:
            return self._unreadable(node, path, error.problem, error.fix)
        plain = not node.style  # "" from libyaml
        tag = node.tag
        if whole and plain:
            tag = self._loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call] # by its stubs
        if tag in _NOT_RESOLVED or tag == "tag:yaml.org,2002:merge":
            tag = "tag:yaml.org,2002:str"
        try:
            value = self._loader.construct_object(yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, IndexError):  # `!!int x`, `!!bool x`, `!!int ""`, or a number of 5,000 digits
            return self._unreadable(
                node, path, f"`{text[:60]}` does not fit its YAML type.", "Quote it, or drop the tag."
            )
        if isinstance(value, int | float) and _MISREAD.fullmatch(text):
            problem = f"YAML reads `{text}` as the number {value}: a leading 0 means base 8, a colon base 60."
            return self._unreadable(
                node, path, problem, f'Write {value} if you mean that, or quote the text: "{text}".'
            )
        if isinstance(value, int) and abs(value) >= _MAX_NUMBER:
            return self._unreadable(node, path, f"{node.value[:30]} is too large a number.", "Write a smaller one.")
        return value


_MISREAD = re.compile(r"[-+]?0[0-9_]+|[^:]+:.*")
_KINDS = {"bool": "a boolean", "int": "a number", "float": "a number", "null": "nothing"}


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _place_of_offset(text: str, offset: int) -> Place:
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _syntax_fault(error: yaml.MarkedYAMLError, lines: list[str]) -> YamlFault:
    # The problem is where libyaml stumbled; its context is where the construct began, often far above.
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    problem, fix = _syntax_advice(error, line, place.column)
    return YamlFault(place, (), line.strip(), problem, fix)


def _syntax_advice(error: yaml.MarkedYAMLError, line: str, column: int) -> tuple[str, str]:
    said = error.problem or error.context or "unreadable"
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "This line is indented with a tab, which YAML does not allow.", "Indent with spaces."
    if isinstance(error, _LimitError):
        return f"This is {said}.", "Write it out flat."
    if "${" in line and "flow" in str(error.context):
        problem = "YAML cannot read `${…}` inside `{ }` or `[ ]`, whose braces end it."
        return problem, "Give it a line of its own (`key: ${VAR}`, `- ${VAR}`), or quote it to have text."
    started = error.context_mark.line + 1 if error.context_mark else 1
    for words, problem, fix in _SYNTAX:
        if words in said:
            return problem.format(at=line[column - 1 : column], started=started), fix
    during = f" {error.context}" if error.context else ""
    return f"This is not valid YAML: {said}{during}.", "Check brackets, quotes and indentation here and just above."


_SYNTAX = (
    (
        "mapping values are not allowed",
        "A second `: ` on this line confuses YAML.",
        'Quote the value ("…"), or check the indentation above.',
    ),
    (
        "undefined alias",
        "This `*` refers to an anchor (`&name`) that does not exist above.",
        'Quote the value ("*…"), or add the anchor.',
    ),
    ("cannot start any token", "A plain value cannot begin with `{at}`.", 'Quote the value ("…").'),
    (
        "another document",
        "A second document (`---`) begins here, and a file describes one dataset.",
        "Give it a file of its own.",
    ),
    (
        "unexpected end of stream",
        "The file ends inside a quoted text that began in line {started}.",
        "Close the quote.",
    ),
)
