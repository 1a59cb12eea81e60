"""Resumable uploads of the JSON API, by the book: fake-gcs-server ends one when it is asked how far it is.

The protocol is at https://cloud.google.com/storage/docs/performing-resumable-uploads.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field

from aiohttp import web

from tests.support.gcs.requests import Asked
from tests.support.gcs.upstream import Answer, Upload, Upstream
from tests.support.gcs.xml_api import DEFAULT_TYPE, declared_hashes

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_GRAIN = 256 * 1024


@dataclass
class _Session:
    upload: Upload
    received: bytearray = field(default_factory=bytearray)
    done: Answer | None = None


class ResumableUploads:
    """Sessions that outlive broken connections."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._sessions: dict[str, _Session] = {}

    def owns(self, request: web.Request) -> bool:
        return request.query.get("uploadType") == "resumable" or request.query.get("upload_id", "") in self._sessions

    def name(self, request: web.Request) -> str:
        """Returns the object's name, which only the first request of a session gives."""
        session = self._sessions.get(request.query.get("upload_id", ""))
        return session.upload.name if session else request.query.get("name", "")

    async def answer(self, request: web.Request, asked: Asked, body: bytes) -> Answer:
        if "upload_id" not in request.query:
            return await self._begin(request, asked, body)
        session = self._sessions.get(request.query["upload_id"])
        if session is None:
            return json_error(404, "no such upload")
        if request.method == "DELETE":
            del self._sessions[request.query["upload_id"]]
            return Answer(499, {}, b"")
        return session.done or await self._receive(session, request, body)

    async def _begin(self, request: web.Request, asked: Asked, body: bytes) -> Answer:
        if not await self._upstream.has_bucket(asked.bucket):
            return json_error(404, "The specified bucket does not exist.")
        described = json.loads(body or b"{}")
        upload_id = uuid.uuid4().hex
        self._sessions[upload_id] = _Session(
            Upload(
                bucket=asked.bucket,
                name=request.query.get("name") or described["name"],
                content=b"",
                content_type=described.get("contentType") or request.headers.get("X-Upload-Content-Type", DEFAULT_TYPE),
                cache_control=described.get("cacheControl", ""),
                if_generation=request.query.get("ifGenerationMatch"),
                declared={name: described[key] for name, key in _HASHES if key in described},
            )
        )
        location = f"{request.scheme}://{request.host}{request.path}?uploadType=resumable&upload_id={upload_id}"
        return Answer(200, {"Location": location}, b"")

    async def _receive(self, session: _Session, request: web.Request, body: bytes) -> Answer:
        given = _RANGE.fullmatch(request.headers.get("Content-Range", f"bytes 0-{max(0, len(body) - 1)}/{len(body)}"))
        if given is None:
            return json_error(400, "Content-Range is not understood")
        first, _, total = given.groups()
        if body:
            start = int(first or 0)
            # Whoever sends bytes that are here already did not ask how far it is, which this service does not forgive.
            if start != len(session.received) or (total == "*" and len(body) % _GRAIN):
                return json_error(400, f"bytes {first} do not follow {len(session.received)}, or are no whole chunk")
            session.received += body
        if total == "*" or int(total) != len(session.received):
            received = {"Range": f"bytes=0-{len(session.received) - 1}"} if session.received else {}
            return Answer(308, received, b"")
        return await self._finish(session, request)

    async def _finish(self, session: _Session, request: web.Request) -> Answer:
        declared = {**session.upload.declared, **declared_hashes(request.headers)}
        upload = Upload(**{**session.upload.__dict__, "content": bytes(session.received), "declared": declared})
        if upload.contradicts():
            return json_error(400, "Provided CRC32C does not match the content.")
        stored = await self._upstream.store(upload)
        if stored.status == 200:
            session.done = stored
            session.received.clear()
        return stored


_HASHES = (("crc32c", "crc32c"), ("md5", "md5Hash"))


def json_error(status: int, message: str, reason: str = "") -> Answer:
    """Returns an error in the JSON API's form."""
    error = {"code": status, "message": message, "errors": [{"message": message, "reason": reason or str(status)}]}
    return Answer(status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode())
