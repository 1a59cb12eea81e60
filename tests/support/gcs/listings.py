"""Pages of listings, cut from one: fake-gcs-server walks through everything anew for each page."""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.support.gcs.requests import Asked
from tests.support.gcs.upstream import Answer, Upstream

_REMEMBERED = 16
_PAGE = 1000
_EVERYTHING = 1 << 30


class Listings:
    """The latest listings, each as it was when its first page was asked for."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._found: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()

    def owns(self, request: web.Request, asked: Asked) -> bool:
        if asked.operation != "list" or asked.xml or request.query.get("delimiter"):
            return False
        if token := request.query.get("pageToken"):
            return token.partition(":")[0] in self._found
        return int(request.query.get("maxResults", _PAGE)) >= _PAGE  # whoever wants less looks for one object

    async def answer(self, request: web.Request) -> Answer:
        listing, _, start = request.query.get("pageToken", "").partition(":")
        if not listing:
            whole = await self._whole(request)
            if whole.status != 200:
                return whole
            listing = uuid.uuid4().hex
            self._found[listing] = whole.json.get("items", [])
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        first = int(start or 0)
        end = first + int(request.query.get("maxResults") or _PAGE)
        page: dict[str, Any] = {"kind": "storage#objects", "items": self._found[listing][first:end]}
        if end < len(self._found[listing]):
            page["nextPageToken"] = f"{listing}:{end}"
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(page).encode())

    async def _whole(self, request: web.Request) -> Answer:
        kept = {name: value for name, value in request.query.items() if name not in ("maxResults", "fields")}
        path = request.raw_path.split("?")[0]
        query = urlencode({**kept, "maxResults": _EVERYTHING})
        return await self._upstream.forward("GET", f"{path}?{query}", request.headers, b"")
