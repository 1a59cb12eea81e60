"""Copy an object through this machine, where no server can do it."""

from __future__ import annotations

from imagemill.errors import TemporaryFault
from imagemill.storage import uri
from imagemill.storage.store import MissingObject, ObjectInfo, Store

CHUNK_BYTES = 1 << 20


def stream_in(source: str, destination: Store, key: str) -> ObjectInfo:
    """Copies the object at the full URI `source` to `key` in flat memory.

    Raises:
        MissingObject: There is no such object.
        TemporaryFault: It changed while it was copied.
    """
    from imagemill.storage import open_store  # the package opens stores of every kind, the destination's included

    folder, name = uri.split(source)
    store = open_store(folder)
    before = store.stat(name)
    if before is None:
        raise MissingObject(f"{source}: there is no such object")
    with destination.writer(key) as target:
        for offset in range(0, before.size, CHUNK_BYTES):
            target.write(store.read_range(name, offset, CHUNK_BYTES))
        if store.stat(name) != before:
            raise TemporaryFault(f"{source} changed while it was copied; try again")
    stored = destination.stat(key, checksum=True)
    if stored is None:
        raise TemporaryFault(f"{destination.uri}/{key} was removed while it was copied; try again")
    return stored
