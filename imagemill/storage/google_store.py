"""A prefix of a Google Cloud Storage bucket as a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from imagemill.storage.copying import stream_in
from imagemill.storage.google_api import GoogleApi, Resource
from imagemill.storage.google_upload import CHUNK_BYTES, ConditionalUpload, GoogleUpload, crc32c_number
from imagemill.storage.object_client import OPEN_CLIENTS, ObjectClient
from imagemill.storage.object_store import ObjectStore
from imagemill.storage.object_upload import Upload, attributes
from imagemill.storage.store import MissingObject, ObjectInfo, ObjectWriter
from imagemill.storage.uri import key_fault, parse

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult


class GoogleStore(ObjectStore):
    """Objects below one prefix of a `gs://` bucket; listings and `stat` always carry CRC-32C.

    Args:
        client: The bucket.
        prefix: Without "/" at its ends; "" for the whole bucket.
    """

    tags_are_digests = True

    def __init__(self, client: ObjectClient, prefix: str) -> None:
        super().__init__(client, prefix)
        self._api = _api_of(client)

    @contextmanager
    def writer(self, key: str) -> Iterator[ObjectWriter]:
        """Streams an object that appears whole when the block ends well, and not at all when it raises."""
        name = self._new_name(key)
        stream = _Stream(self._client, self._api, name)
        yield stream
        if stream.upload is None:
            self.write(key, stream.rest())
        else:
            stream.finish()

    def copy_in(self, source: str, key: str) -> ObjectInfo:
        """Copies the object at the full URI `source` to `key`, on Google's servers where it is in a bucket there."""
        origin = parse(source)
        if origin.scheme != self._client.scheme:
            return stream_in(source, self, key)
        name = self._new_name(key)
        stored = _resource_info(self._api.rewrite(origin.bucket, origin.path, name, _metadata(self._client, name)))
        return ObjectInfo(key, stored.size, stored.crc32c, stored.generation)

    def delete(self, key: str) -> None:
        """Removes an object; one that is already gone is fine. Names that `write` refuses can be removed too."""
        if key_fault(key) is None:
            super().delete(key)
            return
        try:
            self._api.delete(self._base + key)
        except MissingObject:
            return

    def _upload(self, name: str, data: bytes, if_generation: str | None) -> Upload:
        if if_generation is None:
            return super()._upload(name, data, if_generation)
        return ConditionalUpload(self._client, self._api, name, data, if_generation)

    def _stat(self, name: str) -> ObjectInfo | None:
        try:
            return _resource_info(self._api.get(name))
        except MissingObject:
            return None

    def _holds_any(self) -> bool:
        return self._api.holds_any(self._base)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        for page in self._api.pages(prefix):
            yield from map(_resource_info, page)

    def _generation(self, stored: PutResult | ObjectMeta) -> str:
        return stored["version"] or ""


class _Stream:
    """Gathers what is written into chunks; a resumable upload begins only when there are more bytes than one holds."""

    def __init__(self, client: ObjectClient, api: GoogleApi, name: str) -> None:
        self._client, self._api, self._name = client, api, name
        self._waiting: list[bytes] = []
        self._bytes = 0
        self.upload: GoogleUpload | None = None

    def write(self, data: bytes, /) -> int:
        self._waiting.append(data)
        self._bytes += len(data)
        # The last chunk is told apart from the others, so one is held back until there is more.
        while self._bytes > CHUNK_BYTES:
            whole = self.rest()
            self._begun().send(whole[:CHUNK_BYTES])
            self._waiting, self._bytes = [whole[CHUNK_BYTES:]], len(whole) - CHUNK_BYTES
        return len(data)

    def rest(self) -> bytes:
        return b"".join(self._waiting)

    def finish(self) -> None:
        self._begun().finish(self.rest())

    def _begun(self) -> GoogleUpload:
        if self.upload is None:
            self.upload = GoogleUpload(self._client, self._api, self._name, _metadata(self._client, self._name))
        return self.upload


def _metadata(client: ObjectClient, name: str) -> dict[str, str]:
    """Returns what a new object is described by, in the JSON API's words."""
    words = {"Content-Type": "contentType", "Cache-Control": "cacheControl"}
    return {words[header]: value for header, value in attributes(client, name).items()}


@lru_cache(OPEN_CLIENTS)
def _api_of(client: ObjectClient) -> GoogleApi:
    """Returns the JSON API of a bucket, one for all stores that share the client."""
    return GoogleApi(client)


def _resource_info(resource: Resource) -> ObjectInfo:
    size = int(resource["size"])
    crc32c = crc32c_number(resource["crc32c"]) if "crc32c" in resource else None
    return ObjectInfo(resource["name"], size, crc32c if size else 0, str(resource["generation"]))
