"""Writes over the XML API, which obstore uses and fake-gcs-server lacks."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from tests.support.gcs.requests import Asked
from tests.support.gcs.upstream import Answer, Upload, Upstream

DEFAULT_TYPE = "application/octet-stream"
_CODES = {
    400: "InvalidArgument",
    401: "AuthenticationRequired",
    403: "AccessDenied",
    404: "NoSuchKey",
    408: "RequestTimeout",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}


def xml_error(status: int, code: str = "", detail: str = "") -> Answer:
    """Returns an error in the XML API's form."""
    code = code or _CODES.get(status, "InternalError")
    body = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{escape(detail or code)}</Message>"
    )
    return Answer(status, {"Content-Type": "application/xml; charset=UTF-8"}, f"{body}</Error>".encode())


class XmlWrites:
    """Puts, server-side copies and multipart uploads, translated to JSON uploads."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parts: dict[str, dict[int, bytes]] = {}

    async def answer(self, request: web.Request, asked: Asked, body: bytes) -> Answer:
        """Answers a PUT or POST of an object."""
        query = request.query
        if "uploads" in query:
            upload_id = uuid.uuid4().hex
            self._parts[upload_id] = {}
            return _xml(
                f"<InitiateMultipartUploadResult><Bucket>{asked.bucket}</Bucket><Key>{escape(asked.name)}</Key>"
                f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            )
        if "uploadId" in query:
            return await self._part(request, asked, body)
        if "x-goog-copy-source" in request.headers:
            return await self._copy(request, asked)
        return await self._put(request, asked, body)

    async def _part(self, request: web.Request, asked: Asked, body: bytes) -> Answer:
        query = request.query
        if query["uploadId"] not in self._parts:
            return xml_error(404, "NoSuchUpload")
        if "partNumber" in query:
            self._parts[query["uploadId"]][int(query["partNumber"])] = body
            return Answer(200, {"ETag": f'"{_md5(body).hex()}"'}, b"")
        parts = self._parts.pop(query["uploadId"])
        stored = await self._put(request, asked, b"".join(parts[number] for number in sorted(parts)))
        if stored.status != 200:
            return stored
        tag = escape(stored.headers["ETag"])
        return _xml(f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>")

    async def _put(self, request: web.Request, asked: Asked, content: bytes) -> Answer:
        upload = Upload(
            bucket=asked.bucket,
            name=asked.name,
            content=content,
            content_type=request.headers.get("Content-Type", DEFAULT_TYPE),
            cache_control=request.headers.get("Cache-Control", ""),
            if_generation=request.headers.get("x-goog-if-generation-match"),
            declared=declared_hashes(request.headers),
        )
        if upload.contradicts():
            return xml_error(400, "BadDigest")
        stored = await self._upstream.store(upload)
        if stored.status == 404:
            return xml_error(404, "NoSuchBucket")
        return _stored(stored) if stored.status == 200 else xml_error(stored.status)

    async def _copy(self, request: web.Request, asked: Asked) -> Answer:
        bucket, _, name = unquote(request.headers["x-goog-copy-source"]).lstrip("/").partition("/")
        source = await self._upstream.content(bucket, name)
        if source.status != 200:
            return xml_error(source.status)
        return await self._put(request, asked, source.body)


def declared_hashes(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the checksums of `x-goog-hash`, such as `crc32c=n03x6A==,md5=...`."""
    pairs = (part.strip().partition("=") for part in headers.get("x-goog-hash", "").split(","))
    return {name: value for name, _, value in pairs if value}


def hexadecimal_etag(etag: str) -> str:
    """Returns the MD5 as Google's XML API writes it: fake-gcs-server gives it in Base64."""
    text = etag.strip('"')
    try:
        return f'"{base64.b64decode(text, validate=True).hex()}"'
    except ValueError:
        return etag


def _stored(answer: Answer) -> Answer:
    resource = answer.json
    hashes = f"crc32c={resource.get('crc32c', 'AAAAAA==')},md5={resource['md5Hash']}"
    headers = {
        "ETag": hexadecimal_etag(resource["md5Hash"]),
        "x-goog-generation": resource["generation"],
        "x-goog-hash": hashes,
    }
    return Answer(200, headers, b"")


def _xml(body: str) -> Answer:
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
