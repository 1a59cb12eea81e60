"""An index CSV with images beside it, or under a root of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.errors import CallerError, TemporaryFault
from imagemill.external_sort import sorted_lines
from imagemill.index import HEADER, format_row, header_fault, is_header, iter_lines, parse_row
from imagemill.rows import Rejected
from imagemill.sources.folder import images_root
from imagemill.sources.links import find_below, place_images, remove_others
from imagemill.sources.rows_file import RowsFile
from imagemill.sources.tree import PreparedTree, PrepareSummary
from imagemill.storage import uri

if TYPE_CHECKING:
    from imagemill.progress import Progress
    from imagemill.spec import IndexSource

_CHUNK = 1 << 20


def images_of(source: IndexSource, tree: Path) -> str:
    """Returns the local folder of an index's images.

    Raises:
        CallerError: There is none, or it and the tree are one inside the other.
    """
    if source.images is not None:
        return images_root(source.images, tree, setting="source.images")
    return images_root(uri.split(source.index)[0], tree, setting="source.index")


def prepare_index(source: IndexSource, tree: PreparedTree, *, images: str, progress: Progress) -> PrepareSummary:
    """Makes the tree of an index: good rows normalised, bad ones to the letter.

    Each row is accounted for later, by the conversion.

    Raises:
        CallerError: There is no such CSV, it has no row, or its header names other columns.
    """
    folder, key = uri.split(source.index)
    tree.begin({"source": "index", "index": uri.normalise(source.index), "images": images})
    bad = _Count()
    rows = RowsFile(tree)
    progress.begin(f"read {source.index}", total=None, unit="rows")
    try:
        lines = _keyed_lines(_rows_of(source.index, iter_lines(_chunks(folder, key))), bad)
        rows.write((line for _, line in sorted_lines(lines, key=_itself)), progress)
    finally:
        progress.end()
    if not rows.count:
        raise CallerError(f"{source.index} has no rows; a row is {HEADER.replace(',split,group', '[,split[,group]]')}")
    remove_others(tree.images, rows.names())
    progress.begin(f"prepare {images}", total=rows.count - bad.value, unit="images")
    try:
        placed = place_images(
            rows.names(), tree.images, find=find_below(images), partial=tree.partial, progress=progress
        )
    finally:
        progress.end()
    rows.become_index()
    return tree.finish(
        PrepareSummary(
            rows=rows.count,
            bad_rows=bad.value,
            written=placed.written,
            reused=placed.reused,
            missing=placed.missing,
        )
    )


class _Count:
    value = 0


def _itself(line: tuple[str, str]) -> tuple[str, str]:
    return line


def _rows_of(index: str, lines: Iterator[str]) -> Iterator[str]:
    first = next(lines, None)
    if first is None:
        return
    if is_header(first):
        fault = header_fault(first)
        if fault is not None:
            raise CallerError(f"{index}: in the header, {fault}; columns are read by position as {HEADER}")
    else:
        yield first
    yield from lines


def _keyed_lines(lines: Iterator[str], bad: _Count) -> Iterator[tuple[str, str]]:
    """Yields (filename, text): what an index is sorted by."""
    for line in lines:
        row = parse_row(line)
        if isinstance(row, Rejected):
            bad.value += 1
            yield row.key, line
        else:
            yield row.filename, format_row(row)


def _chunks(folder: str, key: str) -> Iterator[bytes]:
    if uri.is_local(folder):
        path = Path(folder, key)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise CallerError(f"`source.index`: {path} {what}; name the CSV file")
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        return
    from imagemill.storage import open_store

    store = open_store(folder)
    found = store.stat(key)
    if found is None:
        raise CallerError(f"`source.index`: {folder}/{key} does not exist; name the CSV file")
    for offset in range(0, found.size, _CHUNK):
        yield store.read_range(key, offset, _CHUNK)
    # Pieces are read one after the other: some of them may be another version's.
    if store.stat(key) != found:
        raise TemporaryFault(f"{folder}/{key} changed while it was read; try again when its upload is finished")
