"""An HTTP server before fake-gcs-server: it adds what that lacks, speaks as Google does, and fails by rule."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from multidict import CIMultiDict

from tests.support.gcs.faults import FaultPlan, Request, Rule
from tests.support.gcs.listings import Listings
from tests.support.gcs.requests import Asked, understand
from tests.support.gcs.resumable import ResumableUploads, json_error
from tests.support.gcs.upstream import Answer, Upstream
from tests.support.gcs.xml_api import XmlWrites, hexadecimal_etag, xml_error

CONTROL = "/_front"
_MAX_BODY = 1 << 30
_SLICES = 20
_TOKENS = {"pageToken", "rewriteToken"}
_ITEM_FIELDS = re.compile(r"items\(([^)]*)\)")

Work = Callable[[bytes], Awaitable[Answer]]


class Front:
    """Answers every request, by itself or from upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._xml = XmlWrites(upstream)
        self._resumable = ResumableUploads(upstream)
        self._listings = Listings(upstream)
        self._faults = FaultPlan()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_get(CONTROL, self._tell)
        app.router.add_put(CONTROL, self._instruct)
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _tell(self, _: web.Request) -> web.Response:
        faults = self._faults
        return web.json_response({"requests": faults.requests, "struck": faults.struck, "latest": list(faults.latest)})

    async def _instruct(self, request: web.Request) -> web.Response:
        self._faults.set(await request.json())
        return web.Response(status=204)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = understand(request)
        resumable = asked.operation == "upload" and not asked.xml and self._resumable.owns(request)
        name = self._resumable.name(request) if resumable else asked.name
        part = request.headers.get("Range") or next(map(request.query.get, _TOKENS & request.query.keys()), "")
        rule = self._faults.strike(Request(asked.operation, name, part), request.headers.get("Authorization", ""))
        body = await request.read()

        async def work(content: bytes) -> Answer:
            return await self._answer(request, asked, content, resumable=resumable)

        if rule is None:
            return _whole(await work(body), head=request.method == "HEAD")
        return await _struck(rule, request, asked, body, work)

    async def _answer(self, request: web.Request, asked: Asked, body: bytes, *, resumable: bool) -> Answer:
        if asked.xml and request.method in ("PUT", "POST") and asked.name:
            return await self._xml.answer(request, asked, body)
        if resumable:
            return await self._resumable.answer(request, asked, body)
        if self._listings.owns(request, asked):
            answer = await self._listings.answer(request)
        else:
            answer = await self._upstream.forward(request.method, request.raw_path, request.headers, body)
        if answer.status == 404 and asked.bucket:
            return await self._missing(asked)
        if asked.operation == "read" and answer.headers.get("Content-Encoding") == "gzip":
            answer = _transcoded(request, answer)
        if asked.xml and "ETag" in answer.headers:
            answer.headers["ETag"] = hexadecimal_etag(answer.headers["ETag"])
        if asked.operation == "list" and answer.status == 200 and (mask := _ITEM_FIELDS.search(request.query_string)):
            return _masked(answer, mask[1].split(","))
        return answer

    async def _missing(self, asked: Asked) -> Answer:
        bucket = await self._upstream.has_bucket(asked.bucket)
        gone = f"No such object: {asked.bucket}/{asked.name}" if bucket else "The specified bucket does not exist."
        if asked.xml:
            return xml_error(404, "NoSuchKey" if bucket else "NoSuchBucket", gone)
        return json_error(404, gone, "notFound")


def _masked(answer: Answer, fields: list[str]) -> Answer:
    """Applies a mask of the form `items(a,b)`; fake-gcs-server sends everything."""
    page: dict[str, Any] = answer.json
    items = [{name: item[name] for name in fields if name in item} for item in page.get("items", [])]
    kept = {"items": items} | ({"nextPageToken": page["nextPageToken"]} if page.get("nextPageToken") else {})
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(kept).encode())


def _transcoded(request: web.Request, answer: Answer) -> Answer:
    """Decompresses an object for whoever does not take gzip; its length is told to nobody then."""
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return answer
    headers = CIMultiDict(answer.headers)
    del headers["Content-Encoding"]
    headers[hdrs.TRANSFER_ENCODING] = "chunked"
    return Answer(answer.status, headers, gzip.decompress(answer.body))


def _whole(answer: Answer, *, head: bool = False) -> web.Response:
    headers = CIMultiDict(answer.headers)
    chunked = headers.pop(hdrs.TRANSFER_ENCODING, "") == "chunked"
    response = web.Response(status=answer.status, headers=headers, body=None if head else answer.body)
    if chunked:
        response.enable_chunked_encoding()
    return response


async def _struck(rule: Rule, request: web.Request, asked: Asked, body: bytes, work: Work) -> web.StreamResponse:
    if rule.kind == "status":
        return _whole(_refusal(rule, asked))
    if rule.kind == "unfinished":
        return web.json_response({"done": False, "rewriteToken": "go on"})
    if rule.kind == "latency":
        await asyncio.sleep(rule.seconds)
    answer = None if rule.kind == "reset" else await work(_damaged(rule, asked, body))
    if answer is None or rule.kind == "lost answer":
        return _break_off(request)
    if rule.kind in ("latency", "corrupt", "short body") and (asked.operation == "upload" or rule.kind == "latency"):
        return _whole(answer, head=request.method == "HEAD")
    return await _send_badly(rule, request, answer)


def _refusal(rule: Rule, asked: Asked) -> Answer:
    message = rule.message or f"struck: {rule.reason or rule.status}"
    return xml_error(rule.status, rule.reason, message) if asked.xml else json_error(rule.status, message, rule.reason)


def _damaged(rule: Rule, asked: Asked, body: bytes) -> bytes:
    """Returns an upload's content as it arrives."""
    if asked.operation == "upload" and rule.kind == "corrupt":
        return _corrupted(body)
    if asked.operation == "upload" and rule.kind == "short body":
        return body[: len(body) // 2]
    return body


async def _send_badly(rule: Rule, request: web.Request, answer: Answer) -> web.StreamResponse:
    body = answer.body
    if rule.kind == "corrupt":
        return _whole(Answer(answer.status, answer.headers, _corrupted(body)))
    headers = CIMultiDict(answer.headers)
    headers["Content-Length"] = str(len(body))
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    if rule.kind == "slow body":
        step = max(1, len(body) // _SLICES)
        for start in range(0, len(body), step):
            await response.write(body[start : start + step])
            await asyncio.sleep(rule.seconds / _SLICES)
        return response
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.01)  # so that the half is on its way before the connection ends
    if rule.kind == "short body" and request.transport is not None:
        request.transport.close()
        return response
    return _break_off(request)


def _break_off(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _corrupted(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else data
