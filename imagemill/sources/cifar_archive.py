"""Write archives in CIFAR-10's layout, with the same bytes on every machine.

The pickles have the instructions of Python 2 (protocol 2, texts as bytes), like the published ones; the gzip stream is
stored, not compressed, since every zlib compresses a little differently.
"""

from __future__ import annotations

import os
import secrets
import struct
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = "cifar-10-batches-py"

_STORED_BYTES = 65_535  # RFC 1951, 3.2.4: what one stored block holds
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: no name, no time, unknown system


def pickle_batch(*, pixels: bytes, labels: Sequence[int], filenames: Sequence[str], title: str) -> bytes:
    """Returns a batch: `pixels` are rows of 3,072 bytes, one a label."""
    items = (
        _text(b"batch_label") + _text(title.encode())
        + _text(b"labels") + _list(_small_int(label) for label in labels)
        + _text(b"data") + _array(pixels, len(labels))
        + _text(b"filenames") + _list(_text(name.encode()) for name in filenames)
    )  # fmt: skip
    return _dictionary(items)


def pickle_meta(*, label_names: Sequence[str], cases_per_batch: int) -> bytes:
    """Returns the member that names the classes."""
    items = (
        _text(b"num_cases_per_batch") + _int(cases_per_batch)
        + _text(b"label_names") + _list(_text(name.encode()) for name in label_names)
        + _text(b"num_vis") + _int(3072)
    )  # fmt: skip
    return _dictionary(items)


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes a `.tar.gz` that appears whole or not at all."""
    partial = path.with_name(f"{path.name}.part-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with partial.open("wb") as file:
            checksum, size = 0, 0
            file.write(_GZIP_HEADER)
            for block in _tar_blocks(members):
                for start in range(0, len(block), _STORED_BYTES):
                    piece = block[start : start + _STORED_BYTES]
                    file.write(struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF) + piece)
                checksum, size = zlib.crc32(block, checksum), size + len(block)
            file.write(struct.pack("<BHHII", 1, 0, 0xFFFF, checksum, size & 0xFFFF_FFFF))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _tar_blocks(members: Iterable[tuple[str, bytes]]) -> Iterable[bytes]:
    for name, content in members:
        entry = tarfile.TarInfo(f"{FOLDER}/{name}")
        entry.size = len(content)
        yield entry.tobuf(tarfile.USTAR_FORMAT)
        yield content
        yield bytes(-len(content) % 512)
    yield bytes(1024)


def _dictionary(items: bytes) -> bytes:
    return b"\x80\x02}(" + items + b"u."


def _list(items: Iterable[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


def _text(text: bytes) -> bytes:
    return b"U" + struct.pack("<B", len(text)) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text


def _small_int(number: int) -> bytes:
    return b"K" + struct.pack("<B", number)


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _array(data: bytes, rows: int) -> bytes:
    """Returns numpy's own way to pickle an array of unsigned bytes, in C order."""
    new = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = _int(rows) + _int(len(data) // rows) + b"\x86"
    return new + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"
