"""Many rows as one `bytes`: what a runner moves between workers costs per element, not per byte."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

from imagemill.conversion.resolution import PlacedRow

_COUNT = struct.Struct("<I")
_MAKE = partial(tuple.__new__, PlacedRow)  # what `PlacedRow._make` does, without a Python frame for each row


def pack_rows(rows: Sequence[PlacedRow]) -> bytes:
    """Returns the rows as columns: a count, three arrays of numbers, then the texts, one a line, compressed.

    Names of one folder differ little: compressed they are a fifth, and the local runner holds them all. A cell is part
    of a physical line of the index, so no text has a line break. The bytes live no longer than a job, whose workers
    are machines of one kind: numbers are in their own byte order.
    """
    hashed, filenames, labels, splits, groups, label_ids, split_numbers = zip(*rows, strict=True)
    return b"".join(
        (
            _COUNT.pack(len(rows)),
            array("Q", hashed).tobytes(),
            array("i", label_ids).tobytes(),
            array("h", split_numbers).tobytes(),
            zlib.compress("\n".join(chain(filenames, labels, splits, groups)).encode(), 1),
        )
    )


def unpack_rows(packed: bytes) -> Iterable[PlacedRow]:
    """Returns the rows of `pack_rows`, in order."""
    (count,) = _COUNT.unpack_from(packed)
    position = _COUNT.size
    numbers = []
    for code in "Qih":
        column: array[int] = array(code)
        end = position + count * column.itemsize
        column.frombytes(memoryview(packed)[position:end])
        numbers.append(column)
        position = end
    texts = str(zlib.decompress(memoryview(packed)[position:]), "utf-8").split("\n")
    columns = (texts[number * count : (number + 1) * count] for number in range(4))
    return map(_MAKE, zip(numbers[0], *columns, numbers[1], numbers[2], strict=True))


def first_hash(packed: bytes) -> int:
    """Returns the key hash of the first row."""
    column: array[int] = array("Q")
    column.frombytes(memoryview(packed)[_COUNT.size : _COUNT.size + column.itemsize])
    return column[0]
