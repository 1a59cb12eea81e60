"""Places that hold objects: `open_store` makes one from a URI; nothing else in the code knows which kind it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from imagemill.storage.settings import ObjectStoreSettings

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


def open_store(uri: str | os.PathLike[str], *, settings: ObjectStoreSettings | None = None) -> Store:
    """Returns the store whose root is `uri`; nothing is read or created yet.

    Args:
        uri: A URI or a path.
        settings: How object stores are reached; by default what the environment says.

    Raises:
        CallerError: The location cannot be understood, or there are no credentials for it.
    """
    location = parse(uri)
    # Each kind is imported where it is used: DAG parsing needs none, and a laptop's folder needs no client.
    if location.is_local:
        from imagemill.storage.local import LocalStore

        return LocalStore(location.path)
    from imagemill.storage.google_store import GoogleStore
    from imagemill.storage.object_client import open_client
    from imagemill.storage.object_store import ObjectStore
    from imagemill.storage.settings import ObjectStoreSettings

    client = open_client(location.scheme, location.bucket, settings or ObjectStoreSettings.from_environment())
    return (GoogleStore if location.scheme == "gs" else ObjectStore)(client, location.path)
