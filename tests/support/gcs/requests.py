"""What a request asks of Google Cloud Storage, over either of its two APIs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from tests.support.gcs.faults import Operation

_JSON_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/([^/]+)")
_JSON_COPY = re.compile(r"/storage/v1/b/[^/]+/o/[^/]+/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)")
_JSON_LIST = re.compile(r"/storage/v1/b/([^/]+)/o/?")
_JSON_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o/?")
_SERVICE = ("/storage/", "/upload/", "/resumable/", "/download/", "/batch", "/b/", "/_")
_XML_OBJECT = re.compile(r"/([^/]+)/(.+)", re.DOTALL)
_XML_METHODS: dict[str, Operation] = {
    "GET": "read",
    "HEAD": "stat",
    "PUT": "upload",
    "POST": "upload",
    "DELETE": "delete",
}
_JSON_METHODS: dict[str, Operation] = {"GET": "stat", "DELETE": "delete"}


@dataclass(frozen=True)
class Asked:
    """An operation, the bucket and the object it is about; `xml` tells the API."""

    operation: Operation
    bucket: str = ""
    name: str = ""
    xml: bool = False


def understand(request: web.Request) -> Asked:
    """Reads a request's line."""
    path, query = request.raw_path.split("?")[0], request.query
    if not path.startswith(_SERVICE):
        return _understand_xml(request, path)
    if found := _JSON_COPY.fullmatch(path):
        return Asked("copy", unquote(found[1]), unquote(found[2]))
    if found := _JSON_UPLOAD.fullmatch(path):
        return Asked("upload", unquote(found[1]), query.get("name", ""))
    if found := _JSON_OBJECT.fullmatch(path):
        read = query.get("alt") == "media"
        operation = "read" if read else _JSON_METHODS.get(request.method, "other")
        return Asked(operation, unquote(found[1]), unquote(found[2]))
    if found := _JSON_LIST.fullmatch(path):
        return Asked("list", unquote(found[1]), query.get("prefix", ""))
    return Asked("bucket" if path.startswith("/storage/v1/b") else "other")


def _understand_xml(request: web.Request, path: str) -> Asked:
    found = _XML_OBJECT.fullmatch(path)
    if found is None:
        return Asked("list", unquote(path.strip("/")), request.query.get("prefix", ""), xml=True)
    operation = _XML_METHODS.get(request.method, "other")
    if "x-goog-copy-source" in request.headers:
        operation = "copy"
    return Asked(operation, unquote(found[1]), unquote(found[2]), xml=True)
