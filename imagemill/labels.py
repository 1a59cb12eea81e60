"""Which label has which id. Ids never change between versions: the list of names only grows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from imagemill.errors import CallerError
from imagemill.rows import UNASSIGNED

LABELS = "labels.txt"
"""Names, one a line, the line number being the id: in a source that fixes ids, and in every version."""

MAX_LABELS = 1_000_000
"""More classes than any published image dataset has; a cell with a larger number is a name, never an id."""

_ID = re.compile(r"0|[1-9][0-9]{0,6}")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class LabelMap:
    """Ids by name; built once, asked for every row."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._ids = {name: position for position, name in enumerate(self.names)}
        if len(self._ids) != len(self.names):
            repeated = next(name for position, name in enumerate(self.names) if self._ids[name] != position)
            raise CallerError(f"the label {repeated!r} is named twice; a name has one id")
        for position in range(len(self.names)):
            self._ids.setdefault(str(position), position)

    def resolve(self, cell: str) -> int | None:
        """Returns the id of a cell that holds a name or, where no class has that name, a decimal id."""
        return self._ids.get(cell)


def is_label(cell: str) -> bool:
    """Tells whether a cell can name a class: one printable line that reads back from `labels.txt` as it is."""
    return bool(cell) and cell == cell.strip() and cell != UNASSIGNED and not _UNWRITABLE.search(cell)


def assign_labels(
    *, published: Sequence[str], declared: Sequence[str], source: Sequence[str], seen: Iterable[str]
) -> tuple[str, ...]:
    """Returns the label names of a new version; the position is the id.

    The spec's names decide, then the source's `labels.txt`, then what the rows say. Each may only add to the
    published names, at the end. Where only the rows speak, new names come in sorted order; cells that are integers
    from 0 up (most of them seen, so that years are not taken for ids) keep their number as their id. A new name that
    is the number of a published class is refused: it would double the classes in silence.

    Args:
        published: Names of the published version, empty if there is none.
        declared: The spec's `labels.names`, empty if it has none.
        source: Lines of the source's `labels.txt`, empty if it has none.
        seen: Label cells of the index rows; read only if neither spec nor source has names.

    Raises:
        CallerError: Names are repeated, unusable, or contradict the published ones or each other.
    """
    for names, origin in ((declared, "the spec's labels.names"), (source, f"the source's {LABELS}")):
        _check_names(names, origin)
    if declared and source:
        _check_agreement(declared, source)
    if declared:
        _check_growth(published, declared, origin="the spec's labels.names")
        return tuple(declared)
    if source:
        shared = min(len(source), len(published))
        _check_growth(published[:shared], source, origin=f"the source's {LABELS}")
        return (*source, *published[len(source) :])
    return (*published, *_new_names(published, {cell for cell in seen if is_label(cell)}))


def parse_labels(data: bytes, *, where: str) -> tuple[str, ...]:
    """Reads a `labels.txt`.

    Raises:
        CallerError: It is not UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CallerError(f"{where}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")) if text else ()


def format_labels(names: Iterable[str]) -> bytes:
    """Returns the bytes of a `labels.txt`."""
    return "".join(f"{name}\n" for name in names).encode()


def _check_names(names: Sequence[str], origin: str) -> None:
    for position, name in enumerate(names):
        if not is_label(name):
            raise CallerError(
                f"{origin}: {name!r} (id {position}) is not a name; write one printable line, no blanks around"
            )
    LabelMap(names)


def _check_agreement(declared: Sequence[str], source: Sequence[str]) -> None:
    for position, (ours, theirs) in enumerate(zip(declared, source, strict=False)):
        if ours != theirs:
            raise CallerError(
                f"label id {position} is {ours!r} in the spec's labels.names and {theirs!r} in the source's {LABELS}; "
                "drop labels.names from the spec, or name the classes in the source's order"
            )


def _check_growth(published: Sequence[str], names: Sequence[str], *, origin: str) -> None:
    for position, old in enumerate(published):
        new = names[position] if position < len(names) else None
        if new != old:
            raise CallerError(
                f"{origin}: id {position} was published as {old!r} and would become {new!r}; ids never change: "
                "keep the published names in their order and add new ones at the end, or give the dataset a new name"
            )


def _new_names(published: Sequence[str], seen: set[str]) -> list[str]:
    numbers = {int(cell) for cell in seen if _ID.fullmatch(cell)}
    numbered = len(numbers) == len(seen) and all(name == str(i) for i, name in enumerate(published))
    if numbered and numbers:
        count = max(numbers) + 1
        if count <= 2 * len(numbers | set(range(len(published)))):
            return [str(i) for i in range(len(published), count)]
    new = seen - set(published)
    _check_new(published, new)
    return sorted(new, key=_numbers_in_order)


def _check_new(published: Sequence[str], new: set[str]) -> None:
    """Refuses a new class that is called as a published one is numbered: most likely the rows have ids now."""
    ids = [int(cell) for cell in new if _ID.fullmatch(cell) and int(cell) < len(published)]
    if ids:
        first = min(ids)
        raise CallerError(
            f"the label {str(first)!r} is no published class, but the id of one ({published[first]!r}); if the index "
            "has ids now, write names, or put the published names into the spec's labels.names: ids then count; "
            f"if {str(first)!r} is a new class, put it into labels.names behind them"
        )


def _numbers_in_order(name: str) -> tuple[int, str]:
    return (int(name), name) if _ID.fullmatch(name) else (MAX_LABELS * 10, name)
