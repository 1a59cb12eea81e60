"""Copy one object between stores: whole, unmixed, and verified."""

from __future__ import annotations

import google_crc32c

from imagemill.errors import TemporaryFault
from imagemill.storage.difference import Copy, vanished
from imagemill.storage.store import LostUpload, MissingObject, ObjectTooLarge, Store
from imagemill.storage.uri import parse

WHOLE_BYTES = 8 << 20
"""Objects up to this size travel in one piece; larger ones are streamed in pieces of this size."""

_TRIES = 5


def transfer(source: Store, destination: Store, copy: Copy) -> int:
    """Copies one object and compares the checksum of the source with what came, and of that with what is stored.

    Args:
        source: Where the object is.
        destination: Where it goes; on its server, where that holds the source too.
        copy: What the listing said of it.

    Returns:
        The bytes copied.

    Raises:
        TemporaryFault: The object vanished, never rested, or did not arrive as it is.
    """
    key = copy.key
    if copy.crc32c is not None and _one_service(source, destination):
        return _copy_there(source, destination, key, copy.crc32c)
    if copy.size > WHOLE_BYTES:
        return _stream(source, destination, key)
    try:
        data, crc32c = _read(source, key, copy.crc32c)
    except ObjectTooLarge:  # it has grown
        return _stream(source, destination, key)
    stored = destination.write(key, data, durable=False)
    _require_same(destination, key, sent=crc32c, stored=stored.crc32c)
    return len(data)


def _read(source: Store, key: str, expected: int | None) -> tuple[bytes, int]:
    """Returns an object and its checksum, which is the source's own where a listing or a look at it tells that."""
    for _ in range(_TRIES):
        try:
            data = source.read(key, max_bytes=WHOLE_BYTES, at_rest=True)
        except MissingObject:
            raise vanished(source, key) from None
        found: int = google_crc32c.value(data)
        if expected is not None and found != expected:
            # Damaged on its way, or replaced since it was listed.
            now = source.stat(key)
            expected = now.crc32c if now else expected
        if expected in (None, found):
            return data, found
    raise TemporaryFault(f"{source.uri}/{key} came {_TRIES} times with another checksum than it has; run it again")


def _one_service(source: Store, destination: Store) -> bool:
    here, there = parse(source.uri), parse(destination.uri)
    return not here.is_local and here.scheme == there.scheme


def _copy_there(source: Store, destination: Store, key: str, crc32c: int) -> int:
    try:
        stored = destination.copy_in(f"{source.uri}/{key}", key)
    except MissingObject:
        raise vanished(source, key) from None
    _require_same(destination, key, sent=crc32c, stored=stored.crc32c)
    return stored.size


def _stream(source: Store, destination: Store, key: str) -> int:
    fault = f"{source.uri}/{key} changed each of {_TRIES} times it was copied; try again when it rests"
    for _ in range(_TRIES):
        try:
            size, sent = _stream_once(source, destination, key)
        except _ChangedError:
            continue
        except LostUpload as error:
            fault = str(error)
            continue
        stored = destination.stat(key, checksum=True)
        _require_same(destination, key, sent=sent, stored=stored.crc32c if stored else None)
        return size
    raise TemporaryFault(fault)


def _stream_once(source: Store, destination: Store, key: str) -> tuple[int, int]:
    crc, offset = 0, 0
    with destination.writer(key) as target:
        while data := _range(source, key, offset):
            crc = google_crc32c.extend(crc, data)
            offset += len(data)
            target.write(data)
        # Pieces are read one after the other: only the source's own checksum proves that they belong together.
        whole = source.stat(key, checksum=True)
        if whole is None:
            raise vanished(source, key)
        if whole.crc32c != crc:
            raise _ChangedError
    return offset, crc


def _range(source: Store, key: str, offset: int) -> bytes:
    try:
        return source.read_range(key, offset, WHOLE_BYTES)
    except MissingObject:
        raise vanished(source, key) from None


def _require_same(destination: Store, key: str, *, sent: int, stored: int | None) -> None:
    if stored != sent:
        found = "nothing" if stored is None else f"crc32c {stored:08x}"
        raise TemporaryFault(f"{destination.uri}/{key}: sent crc32c {sent:08x}, found {found}; run it again")


class _ChangedError(Exception):
    """The source changed between two pieces."""
