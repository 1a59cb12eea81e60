"""A prefix of a bucket as a store, over obstore: what Google Cloud Storage, S3 and Azure have in common.

obstore's Google store is deepened by `google_store`. `s3://` and `az://` take their credentials from the environment,
as obstore documents, and compute the checksums that those services do not give.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import google_crc32c
import obstore

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage.copying import stream_in
from imagemill.storage.object_client import ObjectClient
from imagemill.storage.object_faults import Doing
from imagemill.storage.object_upload import MD5_TAG, Upload, attributes
from imagemill.storage.retry import RequestFault
from imagemill.storage.spool import TemporarySpool
from imagemill.storage.store import (
    MissingObject,
    ObjectInfo,
    ObjectTooLarge,
    ObjectWriter,
    PreconditionFailed,
)
from imagemill.storage.uri import check_key, escapes, key_fault, parse

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutResult

T = TypeVar("T")

PIECE_BYTES = 8 << 20
"""Objects up to this size travel in one request; larger ones in pieces of it."""

_LONGEST_RANGE = 1 << 40
_PAST_END = re.compile(r"status code: 416|Wanted range starting at \d+, but object was only")


class ObjectStore:
    """Objects below one prefix of a bucket.

    A generation is the service's own: a number on Google Cloud Storage, an entity tag elsewhere.

    Attributes:
        tags_are_digests: An entity tag that looks like an MD5 is that of the content. On S3 it only may be: where a
            bucket encrypts with a key of its own, the tag is another number of the same form.

    Args:
        client: The bucket.
        prefix: Without "/" at its ends; "" for the whole bucket.
    """

    tags_are_digests = False

    def __init__(self, client: ObjectClient, prefix: str) -> None:
        self._client = client
        self._base = f"{prefix}/" if prefix else ""
        self.uri = f"{client.scheme}://{client.bucket}/{prefix}".rstrip("/")
        self.parallel_reads = client.settings.storage_parallel

    @property
    def parallel_now(self) -> int:
        return self._client.pace.allowed

    def require_root(self) -> None:
        """Proves that the bucket is there and within reach, that the root holds objects, and that it is not one.

        Raises:
            CallerError: It is not so.
        """
        self.require_target()
        if not self._holds_any():
            raise MissingObject(f"{self.uri} holds no object; check its spelling")

    def require_target(self) -> None:
        """Proves that no object has the root's name.

        Raises:
            CallerError: One has it, or there is no such bucket.
        """
        name = self._base.rstrip("/")
        if name and self._stat(name) is not None:
            raise CallerError(f"{self.uri} is an object, where a prefix is wanted; name the prefix that it is under")

    def require_within(self, key: str) -> None:
        """Proves nothing: a bucket has no links."""

    def read(self, key: str, *, max_bytes: int | None = None, at_rest: bool = False) -> bytes:
        """Returns the whole object, compared with the service's own digest where its tag is one.

        Args:
            key: Name relative to the root.
            max_bytes: The largest object to accept.
            at_rest: Changes nothing: objects are replaced, never changed.

        Raises:
            MissingObject: There is none.
            ObjectTooLarge: It has more than `max_bytes`; decided by the answer's head, before its body is read.
        """
        name = self._name(key)

        def attempt() -> bytes:
            found = obstore.get(self._client.backend, name)
            size = found.meta["size"]
            if max_bytes is not None and size > max_bytes:
                raise ObjectTooLarge(f"{self.uri}/{key} has {size} bytes, more than {max_bytes}", size)
            return self._whole(found, size)

        return self._run("read", name, attempt)

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`; fewer where the object ends earlier.

        Raises:
            MissingObject: There is no such object.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a range starts at 0 or later and is not negative: offset {offset}, length {length}")
        name = self._name(key)
        if not length:
            if self._stat(name) is None:
                raise MissingObject(f"{self.uri}/{key}: there is no such object")
            return b""

        def attempt() -> bytes:
            end = offset + min(length, _LONGEST_RANGE)
            try:
                return obstore.get_range(self._client.backend, name, start=offset, end=end).to_bytes()
            except obstore.exceptions.BaseError as error:
                if _PAST_END.search(str(error)):  # the range begins at the object's end
                    return b""
                raise

        return self._run("read", name, attempt)

    def stat(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """Returns what is known of one object, with its generation, or None."""
        try:
            name = self._name(key)
        except MissingObject:
            return None
        found = self._stat(name)
        if found is None:
            return None
        crc32c = self._checksum(name, found.size) if checksum and found.crc32c is None else found.crc32c
        return ObjectInfo(key, found.size, crc32c, found.generation)

    def list(self, prefix: str = "", *, checksums: bool = False) -> Iterator[ObjectInfo]:
        """Yields the objects whose key starts with `prefix`, sorted by the key's UTF-8 bytes, in flat memory."""
        for found in self._list(self._prefix(prefix)):
            key = found.key[len(self._base) :]
            # Consoles mark folders by empty objects named "folder/"; they hold nothing to mirror.
            if not key or (key.endswith("/") and not found.size):
                continue
            crc32c = self._checksum(found.key, found.size) if checksums and found.crc32c is None else found.crc32c
            yield ObjectInfo(key, found.size, crc32c)

    def write(self, key: str, data: bytes, *, if_generation: str | None = None, durable: bool = True) -> ObjectInfo:
        """Stores an object whole or not at all; a service is always durable.

        Returns:
            Its size, generation and checksum, proved by the service's own digest.

        Raises:
            PreconditionFailed: `if_generation` is given and is not the object's generation.
        """
        name = self._new_name(key)
        upload = self._upload(name, data, if_generation)
        try:
            stored = self._run("write", name, upload.attempt)
        except PreconditionFailed:
            # The answer to an earlier attempt may have been lost on its way.
            found = self._stat(name) if upload.uncertain else None
            if found is None or self._checksum_of(found, name) != upload.crc32c:
                raise
            return ObjectInfo(key, len(data), upload.crc32c, found.generation)
        if not upload.proved:
            self._prove(name, upload.crc32c)
        return ObjectInfo(key, len(data), upload.crc32c, self._generation(stored))

    @contextmanager
    def writer(self, key: str) -> Iterator[ObjectWriter]:
        """Streams an object that appears whole when the block ends well, and not at all when it raises."""
        name = self._new_name(key)
        with TemporarySpool(max_size=PIECE_BYTES) as spool:
            yield spool
            size = spool.tell()

            def attempt() -> PutResult:
                spool.seek(0)
                return obstore.put(
                    self._client.backend, name, spool, attributes=attributes(self._client, name), chunk_size=PIECE_BYTES
                )

            self._run("write", name, attempt)
            spool.seek(0)
            crc32c = 0
            for _ in range(0, size, PIECE_BYTES):
                crc32c = google_crc32c.extend(crc32c, spool.read(PIECE_BYTES))
            self._prove(name, crc32c)

    def copy_in(self, source: str, key: str) -> ObjectInfo:
        """Copies the object at the full URI `source` to `key`, on the server where both are in one bucket."""
        origin = parse(source)
        if (origin.scheme, origin.bucket) != (self._client.scheme, self._client.bucket):
            return stream_in(source, self, key)
        name = self._new_name(key)
        self._run("write", name, lambda: obstore.copy(self._client.backend, origin.path, name))
        found = self.stat(key, checksum=True)
        if found is None:
            raise TemporaryFault(f"{self.uri}/{key} was removed while it was copied; try again")
        return found

    def delete(self, key: str) -> None:
        """Removes an object; one that is already gone is fine."""
        name = self._name(key)
        try:
            self._run("delete", name, lambda: obstore.delete(self._client.backend, name))
        except MissingObject:
            return

    def _upload(self, name: str, data: bytes, if_generation: str | None) -> Upload:
        return Upload(self._client, name, data, if_generation, tags_are_digests=self.tags_are_digests)

    def _run(self, doing: Doing, name: str, attempt: Callable[[], T]) -> T:
        return self._client.run(doing, name, attempt)

    def _stat(self, name: str) -> ObjectInfo | None:
        """Returns what is known of the object of this full name."""
        try:
            found = self._run("look at", name, lambda: obstore.head(self._client.backend, name))
        except MissingObject:
            return None
        return self._info(found)

    def _holds_any(self) -> bool:
        return next(self._list(self._base), None) is not None

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yields objects with their full names."""
        folder = prefix[: prefix.rfind("/") + 1]  # obstore lists folders only
        last: str | None = None
        pages = obstore.list(self._client.backend, folder)

        def attempt() -> Sequence[ObjectMeta]:
            nonlocal pages
            try:
                return next(pages, ())
            except obstore.exceptions.BaseError:
                # A broken stream ends: going on with it would take half a listing for a whole one.
                pages = obstore.list(self._client.backend, folder, offset=last)
                raise

        while page := self._run("list", prefix, attempt):
            last = page[-1]["path"]
            yield from (self._info(found) for found in page if found["path"].startswith(prefix))

    def _generation(self, stored: PutResult | ObjectMeta) -> str:
        return f"{stored['version'] or ''} {stored['e_tag'] or ''}".rstrip()

    def _info(self, found: ObjectMeta) -> ObjectInfo:
        return ObjectInfo(found["path"], found["size"], None, self._generation(found))

    def _whole(self, found: GetResult, size: int) -> bytes:
        data = found.bytes().to_bytes()
        if len(data) != size:
            raise RequestFault(None, f"{len(data)} bytes came, {size} were announced")
        tag = MD5_TAG.fullmatch(found.meta["e_tag"] or "")
        if self.tags_are_digests and tag and tag[1] != hashlib.md5(data, usedforsecurity=False).hexdigest():
            raise RequestFault(None, "what came is not what is stored")
        return data

    def _prove(self, name: str, crc32c: int) -> None:
        """Compares what is stored with what was sent, where the answer to the upload did not tell."""
        found = self._stat(name)
        if found is None or self._checksum_of(found, name) != crc32c:
            place = f"{self._client.scheme}://{self._client.bucket}/{name}"
            raise TemporaryFault(f"{place}: what is stored is not what was sent; run it again")

    def _checksum_of(self, found: ObjectInfo, name: str) -> int:
        return self._checksum(name, found.size) if found.crc32c is None else found.crc32c

    def _checksum(self, name: str, size: int) -> int:
        key, crc32c = name[len(self._base) :], 0
        for offset in range(0, size, PIECE_BYTES):
            crc32c = google_crc32c.extend(crc32c, self.read_range(key, offset, PIECE_BYTES))
        return crc32c

    def _prefix(self, prefix: str) -> str:
        if "/" in prefix and escapes(prefix[: prefix.rfind("/")]):
            raise CallerError(f"{self.uri}: {prefix!r} is no prefix of a key; drop '.', '..' and empty segments")
        return self._base + prefix

    def _name(self, key: str) -> str:
        if escapes(key):
            raise CallerError(f"{self.uri}: {key!r} is no object name; drop '.', '..' and empty segments")
        if fault := key_fault(key):
            raise MissingObject(f"{self.uri}: {key!r} cannot exist, it {fault}")
        return self._base + key

    def _new_name(self, key: str) -> str:
        check_key(key, root=self.uri)
        check_key(self._base + key, root=f"{self._client.scheme}://{self._client.bucket}")
        return self._base + key
