"""The real work: fake-gcs-server, asked over its JSON API."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import google_crc32c
from aiohttp import ClientSession, TCPConnector
from multidict import CIMultiDict
from yarl import URL

_BOUNDARY = "front"
_NOT_FORWARDED = {"transfer-encoding", "content-length", "connection", "host", "keep-alive"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An object to be stored: its content, the headers that describe it, and on which condition.

    Attributes:
        if_generation: Generation that must be there; None for any, "0" for no object.
        declared: Checksums of the content by the sender, "crc32c" and "md5" in Base64.
    """

    bucket: str
    name: str
    content: bytes
    content_type: str
    cache_control: str = ""
    if_generation: str | None = None
    declared: Mapping[str, str]

    def contradicts(self) -> bool:
        """Tells whether the content is not what its sender declared."""
        crc32c = base64.b64encode(google_crc32c.value(self.content).to_bytes(4, "big")).decode()
        return self.declared.get("crc32c", crc32c) != crc32c


class Upstream:
    """A client of fake-gcs-server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: ClientSession | None = None

    @property
    def _client(self) -> ClientSession:
        if self._session is None:  # made within the running loop
            self._session = ClientSession(connector=TCPConnector(limit=128), auto_decompress=False)
        return self._session

    async def close(self) -> None:
        await self._client.close()

    async def forward(self, method: str, raw_path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Passes a request on as it is."""
        kept = {name: value for name, value in headers.items() if name.lower() not in _NOT_FORWARDED}
        return await self._ask(method, raw_path, kept, body)

    async def has_bucket(self, bucket: str) -> bool:
        return (await self._ask("GET", f"/storage/v1/b/{quote(bucket, safe='')}")).status == 200

    async def content(self, bucket: str, name: str) -> Answer:
        return await self._ask("GET", f"{_object(bucket, name)}?alt=media")

    async def store(self, upload: Upload) -> Answer:
        """Stores an object whole, on its condition, which fake-gcs enforces here and nowhere else."""
        condition = "" if upload.if_generation is None else f"&ifGenerationMatch={upload.if_generation}"
        described = {"name": upload.name, "contentType": upload.content_type, "cacheControl": upload.cache_control}
        parts = (json.dumps(described).encode(), upload.content)
        types = ("application/json", upload.content_type)
        body = b"".join(
            f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode() + part + b"\r\n"
            for kind, part in zip(types, parts, strict=True)
        )
        return await self._ask(
            "POST",
            f"/upload/storage/v1/b/{quote(upload.bucket, safe='')}/o?uploadType=multipart{condition}",
            {"Content-Type": f"multipart/related; boundary={_BOUNDARY}"},
            body + f"--{_BOUNDARY}--\r\n".encode(),
        )

    async def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        url = URL(self._url + path, encoded=True)
        async with self._client.request(method, url, headers=headers, data=body, allow_redirects=False) as found:
            kept = CIMultiDict(found.headers)
            for name in _NOT_FORWARDED - ({"content-length"} if method == "HEAD" else set()):
                kept.popall(name, None)
            return Answer(found.status, kept, await found.read())


def _object(bucket: str, name: str) -> str:
    return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
