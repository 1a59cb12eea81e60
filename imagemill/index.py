"""The index: CSV rows `filename,label[,split[,group]]`, one physical line each.

Quoting is RFC 4180's, but a row cannot span lines: names with a line break cannot exist in object stores, and one
line a row lets any worker start reading anywhere. The filename is taken to the letter; around the other cells,
where they are not quoted, spaces and tabs do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from imagemill.rows import Reason, Rejected, Row
from imagemill.storage.uri import RESERVED

HEADER = "filename,label,split,group"
"""First line of every index that imagemill writes."""

MAX_LINE_BYTES = 64 << 10
"""A longer line is a `bad_row`; `iter_lines` cuts it, so that a file without line ends cannot fill the memory."""

MAX_NAME_BYTES = 1024
"""Object stores allow no longer keys (Cloud Storage and S3 alike)."""

_HEADER_COLUMNS = (
    frozenset({"filename", "file", "file_name", "filepath", "path", "image", "image_path"}),
    frozenset({"label", "labels", "class", "class_name", "category"}),
    frozenset({"split", "set", "subset"}),
    frozenset({"group", "group_id"}),
)
_BOM = b"\xef\xbb\xbf"
_BLANKS = " \t"

# Controls (C0, DEL, C1), the two Unicode line breaks, and what is left of bytes that were not UTF-8.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# One cell and what ends it: a quoted text or an unquoted one. Blanks around the filename belong to it, as they do for
# the csv module; around another cell they do not count. Possessive, so that a quote that never ends fails at once.
_FIRST_CELL = re.compile(r'(?:"((?:[^"]|"")*+)"|((?:[^",][^,]*+)?+))(,|\Z)')
_LATER_CELL = re.compile(r'[ \t]*+(?:"((?:[^"]|"")*+)"[ \t]*+|((?:[^",][^,]*+)?+))(,|\Z)')
# Nearly all names and lines are plain; one match settles them.
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*+(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*+)*+"
_WORDS = r"[A-Za-z0-9_.-]++(?: [A-Za-z0-9_.-]++)*+"
_PLAIN_NAME = re.compile(_NAME)
_PLAIN_LINE = re.compile(f"({_NAME}),({_WORDS})(?:,((?:{_WORDS})?)(?:,((?:{_WORDS})?))?)?")


def is_header(line: str) -> bool:
    """Tells whether a file's first line names the columns instead of being a row (`path,class`)."""
    cells = line.split(",")
    if len(cells) < 2:
        return False
    names = [cell.strip(' \t"').lower() for cell in cells[:2]]
    return all(name in known for name, known in zip(names, _HEADER_COLUMNS, strict=False))


def header_fault(line: str) -> str | None:
    """Returns why a header cannot be read by position (`filename,label,weight`), or None."""
    cells = [cell.strip(' \t"') for cell in line.split(",")]
    if len(cells) > len(_HEADER_COLUMNS):
        return f"{len(cells)} columns, at most {len(_HEADER_COLUMNS)} are known"
    for cell, known, column in zip(cells, _HEADER_COLUMNS, HEADER.split(","), strict=False):
        if cell.lower() not in known:
            return f"column {cell!r} stands where {column!r} belongs"
    return None


def name_fault(name: str) -> str | None:
    """Returns None for a name that is one object key and one path below its root, else why it is not.

    Backslashes are refused too: they are what a Windows tool writes for "/", and such a name would be missing
    without anyone seeing why.
    """
    if len(name) <= MAX_NAME_BYTES and _PLAIN_NAME.fullmatch(name):
        return None
    odd = _UNWRITABLE.search(name)
    if odd:
        return f"the name has the character {odd[0]!r}, which no object store takes"
    if "\\" in name:
        return "the name has a backslash; write folders with '/'"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"the name has more than {MAX_NAME_BYTES} bytes"
    return _segment_fault(name)


def parse_row(line: str) -> Row | Rejected:
    """Reads one line, given without its end.

    A rejected line keeps its text to the letter, undecodable bytes as surrogates (PEP 383): encode it with
    `errors="surrogateescape"`.
    """
    plain = _PLAIN_LINE.fullmatch(line) if len(line) <= MAX_NAME_BYTES else None
    if plain:
        return Row(*plain.groups(""))
    if len(line) > MAX_LINE_BYTES // 4 and len(line.encode(errors="surrogatepass")) > MAX_LINE_BYTES:
        return Rejected("", line, Reason.BAD_ROW, f"the line has more than {MAX_LINE_BYTES} bytes")
    if '"' in line:
        cells = _quoted_cells(line)
        if cells is None:
            return Rejected("", line, Reason.BAD_ROW, 'a quoted cell never ends or has text behind it; write " as ""')
    else:
        name, *rest = line.split(",")
        cells = [name, *(cell.strip(_BLANKS) for cell in rest)]
    fault = _fault(cells)
    if fault:
        reason, detail = fault
        return Rejected("" if _UNWRITABLE.search(cells[0]) else cells[0], line, reason, detail)
    return Row(*cells)


def format_row(row: Row) -> str:
    """Returns the row's line without its end: quotes only where needed, empty cells at the end kept off."""
    cells = [row.filename, row.label, row.split, row.group]
    while len(cells) > 2 and not cells[-1]:
        cells.pop()
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if _needs_quotes(cell, position) else cell
        for position, cell in enumerate(cells)
    )


def iter_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""Yields the lines of a file that comes in pieces of any size, in memory bounded by piece and line length.

    A BOM, line ends (LF or CRLF) and empty lines are dropped; undecodable bytes survive as surrogates, for
    `parse_row` to reject; a line beyond `MAX_LINE_BYTES` is cut one byte later. The lines do not depend on where
    the pieces were cut.
    """
    pending = b""
    for chunk in _without_bom(chunks):
        whole, newline, pending = (pending + chunk).rpartition(b"\n")
        if newline:
            yield from _split(whole)
        # Enough of an overlong line to tell that it is one, with room for a "\r" that is not part of it.
        pending = pending[: MAX_LINE_BYTES + 2]
    yield from _split(pending)


def _segment_fault(name: str) -> str | None:
    if not name:
        return "the name is empty"
    if name.startswith("/"):
        return "the name is absolute; write it relative to the images"
    for segment in name.split("/"):
        if segment in {"", ".", ".."}:
            return f"the name has {segment!r} between slashes"
        if segment.startswith(RESERVED):
            return f"the name has a part that starts with {RESERVED!r}, which imagemill keeps for itself"
    return None


def _fault(cells: list[str]) -> tuple[Reason, str] | None:
    if not all(map(str.isprintable, cells)) and any(map(_SURROGATE.search, cells)):
        return Reason.BAD_ROW, "the line is not UTF-8"
    if not 2 <= len(cells) <= 4:
        return Reason.BAD_ROW, f"{len(cells)} column{'s'[: len(cells) > 1]}; a row is filename,label[,split[,group]]"
    unsafe = name_fault(cells[0])
    if unsafe:
        return Reason.UNSAFE_NAME, unsafe
    if not cells[1]:
        return Reason.BAD_ROW, "the label is empty"
    for column, cell in zip(HEADER.split(",")[1:], cells[1:], strict=False):
        odd = None if cell.isprintable() else _UNWRITABLE.search(cell)
        if odd:
            return Reason.BAD_ROW, f"the {column} has the control character {odd[0]!r}"
    return None


def _quoted_cells(line: str) -> list[str] | None:
    """Splits a line that has quotes; None where they do not match up."""
    cells: list[str] = []
    found = _FIRST_CELL.match(line)
    while found:
        quoted, plain, separator = found.groups()
        cells.append(quoted.replace('""', '"') if quoted is not None else plain.rstrip(_BLANKS if cells else ""))
        if not separator:
            return cells
        found = _LATER_CELL.match(line, found.end())
    return None


def _needs_quotes(cell: str, position: int) -> bool:
    return "," in cell or '"' in cell or (position > 0 and cell != cell.strip(_BLANKS))


def _without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = iter(chunks)
    head = b""
    for chunk in rest:
        head += chunk
        if len(head) >= len(_BOM):
            break
    yield head.removeprefix(_BOM)
    yield from rest


def _split(block: bytes) -> Iterator[str]:
    text = block.decode(errors="surrogateescape")
    for line in text.split("\n"):
        # A character has at most four bytes: only a line this long can be too long.
        if len(line) > MAX_LINE_BYTES // 4:
            raw = line.encode(errors="surrogateescape").removesuffix(b"\r")
            yield raw[: MAX_LINE_BYTES + 1].decode(errors="surrogateescape")
        elif line.endswith("\r"):
            if len(line) > 1:
                yield line[:-1]
        elif line:
            yield line
