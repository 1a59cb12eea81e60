"""The digest of one input row and its image, from which planning and the job prove that they saw the same input."""

from __future__ import annotations

from hashlib import blake2b

from imagemill.rows import Rejected, Row

_ROW_HASH = blake2b(digest_size=16, person=b"imagemill.row")


def row_digest(row: Row | Rejected, *, size: int = -1, crc32c: int = -1) -> int:
    """Returns a row's part of the content digest, 128 bits; parts add up modulo 2**128, in any order.

    Args:
        row: The row, or what is left of one that could not be read.
        size: Bytes of its image; -1 where there is none, or where the row does not get as far.
        crc32c: Checksum of its image; -1 where nobody reads it.
    """
    # No cell holds a control character, so that the separators are unambiguous; no cell of a bad row is known.
    text = row.row if isinstance(row, Rejected) else "\x1f".join(row)
    hashing = _ROW_HASH.copy()  # half of what a new one costs
    hashing.update(f"{text}\x1e{size}\x1e{crc32c}".encode(errors="surrogateescape"))
    return int.from_bytes(hashing.digest(), "big")
