"""One object on its way into a bucket: what it is described by, on which condition it is stored, and what proves it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import google_crc32c
import obstore

from imagemill.storage.object_client import ObjectClient
from imagemill.storage.retry import RequestFault
from imagemill.storage.store import ABSENT

if TYPE_CHECKING:
    from obstore import PutMode, PutResult, UpdateVersion

MD5_TAG = re.compile(r'"?([0-9a-f]{32})"?')
"""An entity tag in the form of an MD5."""

_CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "webp": "image/webp",
    "csv": "text/csv; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
}


def content_type(name: str) -> str:
    """Returns the `Content-Type` of an object, by its name alone: equal on every machine."""
    return _CONTENT_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


class Upload:
    """One object on its way into the store.

    Args:
        client: The bucket.
        name: Full name of the object.
        data: Its content.
        if_generation: Generation it must have; `ABSENT` for none, None for any.
        tags_are_digests: A tag in the form of an MD5 is that of the content: another one means damage.

    Attributes:
        crc32c: Checksum of the content.
        uncertain: An attempt may have been carried out though no answer came.
        proved: The answer held the digest of what is stored, and it is the content's.
    """

    def __init__(
        self, client: ObjectClient, name: str, data: bytes, if_generation: str | None, *, tags_are_digests: bool
    ) -> None:
        self._client, self._name, self._data = client, name, data
        self._mode, self._tags_are_digests = _mode(if_generation), tags_are_digests
        self._md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.crc32c: int = google_crc32c.value(data)
        self.uncertain = self.proved = False

    def attempt(self) -> PutResult:
        try:
            stored = obstore.put(
                self._client.backend,
                self._name,
                self._data,
                attributes=attributes(self._client, self._name),
                mode=self._mode,
                use_multipart=False,
            )
        except obstore.exceptions.PreconditionError:
            raise
        except obstore.exceptions.BaseError:
            self.uncertain = True
            raise
        tag = MD5_TAG.fullmatch(stored["e_tag"] or "")
        self.proved = tag is not None and tag[1] == self._md5
        if tag and not self.proved and self._tags_are_digests:
            raise RequestFault(None, "what was stored is not what was sent")
        return stored


def attributes(client: ObjectClient, name: str) -> dict[Any, str]:
    """Returns the headers that a new object is stored with."""
    cache_control = client.settings.storage_cache_control
    return {"Content-Type": content_type(name)} | ({"Cache-Control": cache_control} if cache_control else {})


def _mode(if_generation: str | None) -> PutMode:
    if if_generation is None:
        return "overwrite"
    if if_generation == ABSENT:
        return "create"
    version, _, tag = if_generation.partition(" ")
    given: UpdateVersion = {}
    if version:
        given["version"] = version
    if tag:
        given["e_tag"] = tag
    return given
