"""Reading an index in blocks that begin and end anywhere: every line belongs to the block it begins in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from imagemill.errors import CallerError
from imagemill.index import header_fault, is_header, iter_lines
from imagemill.storage.store import Store

READ_BYTES = 1 << 20


MAX_BLOCK_BYTES = 4 << 20
_MIN_BLOCK_BYTES = 128 << 10
_BLOCKS = 64


class Block(NamedTuple):
    """A byte range of the index."""

    offset: int
    length: int


def block_bytes_for(total_bytes: int) -> int:
    """Returns the size of blocks that keeps every worker busy to the end, and no worker's memory full."""
    return min(MAX_BLOCK_BYTES, max(_MIN_BLOCK_BYTES, total_bytes // _BLOCKS))


def cut_blocks(total_bytes: int, block_bytes: int) -> list[Block]:
    """Returns ranges of nearly equal length, at most `block_bytes`, that cover the file; one for an empty file."""
    count = max(1, -(-total_bytes // block_bytes))
    edges = [total_bytes * number // count for number in range(count + 1)]
    return [Block(start, end - start) for start, end in pairwise(edges)]


def read_lines(store: Store, key: str, block: Block) -> Iterator[str]:
    """Yields the rows' lines that begin in the block, without the header.

    Raises:
        CallerError: The header names columns that are not the index's.
    """
    if block.offset:
        # An empty line in front: what looks like a byte order mark here is the beginning of a name.
        yield from iter_lines(_chain(b"\n", _whole_lines(store, key, block)))
        return
    lines = iter_lines(_whole_lines(store, key, block))
    for first in lines:
        if is_header(first):
            fault = header_fault(first)
            if fault:
                raise CallerError(f"{store.uri}/{key}: {fault}; the columns are filename,label[,split[,group]]")
        else:
            yield first
        break
    yield from lines


def _whole_lines(store: Store, key: str, block: Block) -> Iterator[bytes]:
    """Yields the bytes from the first line that begins in the block to the end of the last one that does."""
    end = block.offset + block.length
    position = max(0, block.offset - 1)  # the byte before tells whether a line begins at the first byte
    begun = position == block.offset
    while position < end or begun:
        data = store.read_range(key, position, READ_BYTES)
        if not data:
            return
        start = 0
        if not begun:
            start = data.find(b"\n") + 1
            begun = start > 0 and position + start < end
        if begun:
            last = data.find(b"\n", max(start, end - 1 - position))
            if last >= 0:
                yield data[start : last + 1]
                return
            yield data[start:]
        elif start:
            return
        position += len(data)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
