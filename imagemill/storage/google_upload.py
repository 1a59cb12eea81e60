"""Uploads that Google verifies before an object appears: a resumable one, of any size, and a conditional one.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import google_crc32c
import httpx

from imagemill.storage.google_api import GoogleApi
from imagemill.storage.object_client import ObjectClient
from imagemill.storage.object_upload import Upload, attributes
from imagemill.storage.retry import RequestFault
from imagemill.storage.store import LostUpload

if TYPE_CHECKING:
    from obstore import PutResult

CHUNK_BYTES = 8 << 20
"""Bytes of one request: a multiple of 256 KiB, as the service demands; also what one upload holds in memory."""

_GO_ON = 308
_LOST = (400, 404, 410)
"""The checksum is another, or the upload is gone."""
_RECEIVED = re.compile(r"bytes=0-(\d+)")


def crc32c_text(crc32c: int) -> str:
    """Returns a checksum as the service writes it: Base64 of the big-endian number."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()


def crc32c_number(text: str) -> int:
    """Returns the checksum that the service wrote."""
    return int.from_bytes(base64.b64decode(text), "big")


class ConditionalUpload(Upload):
    """An object that replaces a certain generation: its checksum travels with it, so that no damage replaces anything.

    Args:
        client: The bucket.
        api: Its API.
        name: Full name of the object.
        data: Its content.
        if_generation: Generation it must have; `ABSENT` for none.
    """

    def __init__(self, client: ObjectClient, api: GoogleApi, name: str, data: bytes, if_generation: str) -> None:
        super().__init__(client, name, data, if_generation, tags_are_digests=True)
        self._api = api
        self._headers = attributes(client, name) | {
            "x-goog-hash": f"crc32c={crc32c_text(self.crc32c)}",
            "x-goog-if-generation-match": if_generation or "0",
        }

    def attempt(self) -> PutResult:
        try:
            stored = self._api.put(self._name, self._data, self._headers)
        except RequestFault as fault:
            if fault.reason == "BadDigest":
                raise RequestFault(None, "what arrived is not what was sent") from fault
            self.uncertain |= fault.status != HTTPStatus.PRECONDITION_FAILED
            raise
        self.proved = True
        return {"e_tag": None, "version": stored["x-goog-generation"]}


class GoogleUpload:
    """Sends an object in chunks. An upload that is not finished leaves no object; the service forgets it in a week.

    Attributes:
        size: Bytes sent so far.
        crc32c: Their checksum.

    Args:
        client: The bucket.
        api: Its JSON API.
        name: Full name of the object.
        metadata: What the object is described by.
    """

    def __init__(self, client: ObjectClient, api: GoogleApi, name: str, metadata: Mapping[str, str]) -> None:
        self._client, self._api, self._name = client, api, name
        self._url = api.begin_upload(name, metadata)
        self.size = self.crc32c = 0

    def send(self, chunk: bytes) -> None:
        """Sends a chunk of `CHUNK_BYTES` that is not the last one."""
        self._send(chunk, last=False)

    def finish(self, rest: bytes) -> None:
        """Sends the end of the content; the object appears.

        Raises:
            LostUpload: The service found another checksum: the object did not appear.
        """
        self._send(rest, last=True)

    def _send(self, chunk: bytes, *, last: bool) -> None:
        start, end = self.size, self.size + len(chunk)
        self.crc32c = google_crc32c.extend(self.crc32c, chunk)
        sent: int | None = start  # None after a fault: only the service knows how much has arrived

        def attempt() -> None:
            nonlocal sent
            offset, sent = self._arrived(end, last=last) if sent is None else sent, None
            if not start <= offset <= end:
                raise self._lost(f"byte {offset} is wanted, from {start} to {end} are at hand")
            if offset < end:
                answer = self._put(chunk[offset - start :], offset, end, last=last)
                sent = offset = _received(answer) if answer.status_code == _GO_ON else end
            if offset < end:
                raise RequestFault(None, f"{offset} of {end} bytes have arrived")

        self._client.run("write", self._name, attempt)
        self.size = end

    def _put(self, data: bytes, offset: int, end: int, *, last: bool) -> httpx.Response:
        return self._ask(data, f"bytes {offset}-{end - 1}/{end if last else '*'}", last=last)

    def _arrived(self, end: int, *, last: bool) -> int:
        """Asks how many bytes the service has; all that have come are an object now, where they are the last."""
        answer = self._ask(b"", f"bytes */{end if last else '*'}", last=last)
        return _received(answer) if answer.status_code == _GO_ON else end

    def _ask(self, data: bytes, span: str, *, last: bool) -> httpx.Response:
        digest = {"x-goog-hash": f"crc32c={crc32c_text(self.crc32c)}"} if last else {}
        try:
            return self._api.send(self._url, data, {"Content-Range": span} | digest)
        except RequestFault as fault:
            if fault.status in _LOST:
                raise self._lost(fault.detail) from fault
            raise

    def _lost(self, why: str) -> LostUpload:
        # Only the caller has the bytes sent so far.
        return LostUpload(f"the upload of {self._name} cannot be continued ({why}); run it again")


def _received(answer: httpx.Response) -> int:
    found = _RECEIVED.fullmatch(answer.headers.get("Range", ""))
    return int(found[1]) + 1 if found else 0
