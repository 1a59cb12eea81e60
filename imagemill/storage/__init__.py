"""Places that hold objects: `open_store` makes one from a URI; nothing else in the code knows which kind it is."""

from __future__ import annotations

import os

from imagemill.errors import CallerError
from imagemill.storage.store import (
    ABSENT,
    MissingObject,
    ObjectInfo,
    ObjectTooLarge,
    ObjectWriter,
    PreconditionFailed,
    Store,
)
from imagemill.storage.uri import Location, is_local, join, key_fault, normalise, parse, split

__all__ = [
    "ABSENT",
    "Location",
    "MissingObject",
    "ObjectInfo",
    "ObjectTooLarge",
    "ObjectWriter",
    "PreconditionFailed",
    "Store",
    "is_local",
    "join",
    "key_fault",
    "normalise",
    "open_store",
    "parse",
    "split",
]


def open_store(uri: str | os.PathLike[str]) -> Store:
    """Returns the store whose root is `uri`; nothing is read or created yet.

    Raises:
        CallerError: The location cannot be understood, or its kind is not supported.
    """
    location = parse(uri)
    if location.is_local:
        from imagemill.storage.local import LocalStore  # keeps the checksum library out of DAG parsing

        return LocalStore(location.path)
    raise CallerError(f"{location}: {location.scheme}:// is not supported yet; use a local folder")
