"""Google Cloud Storage's JSON API, for what the XML API behind obstore does not tell: checksums, pages, progress.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import httpx

from imagemill.storage.object_client import ObjectClient
from imagemill.storage.object_faults import Doing, answer_fault
from imagemill.storage.retry import RequestFault

Resource = dict[str, Any]
"""An object's metadata, in the API's words."""

PAGE_OBJECTS = 1000
"""Objects the service lists in one answer, at most."""

OBJECT_FIELDS = "name,size,crc32c,generation"

_CONNECT_SECONDS = 10.0
_NONE: Mapping[str, str] = MappingProxyType({})


class GoogleApi:
    """The JSON API of one bucket. Thread-safe."""

    def __init__(self, client: ObjectClient) -> None:
        self._client = client
        settings = client.settings
        patience = min(settings.storage_attempt_seconds, settings.storage_deadline_seconds)
        self._http = httpx.Client(
            base_url=settings.gcs_endpoint,
            timeout=httpx.Timeout(patience, connect=min(_CONNECT_SECONDS, patience)),
            limits=httpx.Limits(max_connections=settings.storage_parallel * 2),
            headers={"x-goog-user-project": settings.gcs_user_project} if settings.gcs_user_project else {},
        )
        weakref.finalize(self, self._http.close)
        self._objects = f"/storage/v1/b/{quote(client.bucket, safe='')}/o"
        self._uploads = f"/upload{self._objects}"

    def get(self, name: str) -> Resource:
        """Returns an object's metadata.

        Raises:
            MissingObject: There is none.
        """
        return self._json("look at", name, "GET", self._path(name), params={"fields": OBJECT_FIELDS})

    def pages(self, prefix: str) -> Iterator[list[Resource]]:
        """Yields the metadata of the objects whose name starts with `prefix`, in the order of UTF-8 bytes."""
        # The next page is on its way while the caller works on this one.
        with ThreadPoolExecutor(1, thread_name_prefix="list") as pool:
            coming: Future[Resource] | None = pool.submit(self._page, prefix)
            while coming:
                page = coming.result()
                token = page.get("nextPageToken")
                coming = pool.submit(self._page, prefix, token=token) if token else None
                yield page.get("items", [])

    def holds_any(self, prefix: str) -> bool:
        """Tells whether there is an object whose name starts with `prefix`."""
        return bool(self._page(prefix, at_most=1).get("items"))

    def _page(self, prefix: str, *, token: str = "", at_most: int = PAGE_OBJECTS) -> Resource:
        mask = f"items({OBJECT_FIELDS}),nextPageToken"
        params = {"prefix": prefix, "maxResults": str(at_most), "fields": mask} | (
            {"pageToken": token} if token else {}
        )
        return self._json("list", prefix, "GET", self._objects, params=params)

    def rewrite(self, source_bucket: str, source: str, name: str, metadata: Mapping[str, str]) -> Resource:
        """Copies an object into this bucket on the server, in as many steps as the server wants.

        Args:
            source_bucket: Where the object is.
            source: Its full name there.
            name: Full name of the copy.
            metadata: What the copy is described by, in place of what the object is.

        Raises:
            MissingObject: There is no such object.
        """
        path = f"/storage/v1/b/{quote(source_bucket, safe='')}/o/{quote(source, safe='')}/rewriteTo"
        path += self._path(name).removeprefix("/storage/v1")
        token: Mapping[str, str] = {}
        while True:
            answer = self._json("write", name, "POST", path, params=token, json=dict(metadata))
            if answer["done"]:
                return dict(answer["resource"])
            token = {"rewriteToken": answer["rewriteToken"]}

    def delete(self, name: str) -> None:
        """Removes an object, whatever its name.

        Raises:
            MissingObject: There is none.
        """
        self.request("delete", name, "DELETE", self._path(name))

    def put(self, name: str, content: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Stores an object by one attempt of the XML API, and returns the answer's headers.

        That API's conditions and checksums are headers (https://cloud.google.com/storage/docs/xml-api/reference-headers).

        Raises:
            RequestFault: It was not answered with success.
        """
        path = f"/{quote(self._client.bucket, safe='')}/{quote(name, safe='')}"
        return self._once("PUT", path, content=content, headers=headers).headers

    def begin_upload(self, name: str, metadata: Mapping[str, str]) -> str:
        """Opens a resumable upload and returns its URL."""
        params = {"uploadType": "resumable", "name": name}
        answer = self.request("write", name, "POST", self._uploads, params=params, json=dict(metadata))
        return answer.headers["Location"]

    def send(self, url: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Sends a part of a resumable upload, once.

        Raises:
            RequestFault: It was not answered with success or "go on" (308).
        """
        return self._once("PUT", url, content=content, headers=headers)

    def request(self, doing: Doing, name: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Returns the answer to a request, repeated while that may help."""
        return self._client.run(doing, name, lambda: self._once(method, path, **options))

    def _json(self, doing: Doing, name: str, method: str, path: str, **options: Any) -> Resource:
        def attempt() -> Resource:
            answer = self._once(method, path, **options)
            try:
                return dict(json.loads(answer.content))
            except ValueError:
                raise RequestFault(None, f"the answer is not JSON: {answer.content[:80]!r}") from None

        return self._client.run(doing, name, attempt)

    def _once(self, method: str, path: str, *, headers: Mapping[str, str] = _NONE, **options: Any) -> httpx.Response:
        token = self._client.identity.token()
        signed = {"Authorization": f"Bearer {token.text}"} if token else {}
        try:
            answer = self._http.request(method, path, headers={**signed, **headers}, **options)
        except httpx.RequestError as error:
            raise RequestFault(None, str(error) or type(error).__name__) from error
        if answer.status_code >= 400:
            raise answer_fault(answer.status_code, answer.text)
        return answer

    def _path(self, name: str) -> str:
        return f"{self._objects}/{quote(name, safe='')}"
