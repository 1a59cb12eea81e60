"""Dataflow's REST API, v1b3, as far as Beam's launcher, Airflow's hook and people's scripts use it.

https://cloud.google.com/dataflow/docs/reference/rest
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.support.dataflow.execution import Cluster
from tests.support.dataflow.jobs import IMPORTANCES, Job, JobBook
from tests.support.dataflow.troubles import Method, Troubles

CONTROL = "/_standin"
PROJECT = "demo"
REGIONS = ("europe-west1", "us-central1")
PAGE = 2
"""Jobs in one page of a list: few, so that every client has to read on."""

_JOBS = "/v1b3/projects/{project}/locations/{region}/jobs"
_CANCELS = ("JOB_STATE_CANCELLED", 5)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Answers every request."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._book = JobBook()
        self._troubles = Troubles()
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/token", self._token)
        app.router.add_get(CONTROL, self._tell)
        app.router.add_put(CONTROL, self._instruct)
        app.router.add_post(CONTROL + "/release", self._release)
        app.router.add_post(CONTROL + "/cancel", self._cancel)
        app.router.add_post(_JOBS, self._met("create", self._create))
        app.router.add_get(_JOBS, self._met("list", self._list))
        app.router.add_get(_JOBS + "/{id}", self._met("get", self._get))
        app.router.add_put(_JOBS + "/{id}", self._met("update", self._update))
        app.router.add_get(_JOBS + "/{id}/messages", self._met("messages", self._messages))
        app.router.add_get(_JOBS + "/{id}/metrics", self._met("metrics", self._metrics))
        return app

    def _met(self, method: Method, handler: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if not request.headers.get("Authorization", "").startswith("Bearer "):
                return _error(401, "Request is missing required authentication credential.", "UNAUTHENTICATED")
            trouble = self._troubles.strike(method)
            if trouble and trouble.status >= 400:
                return _error(trouble.status, trouble.message, "TROUBLE")
            if refusal := _refusal(request):
                return refusal
            done = await handler(request)
            if trouble:
                await asyncio.sleep(trouble.late_seconds)
            if trouble and not trouble.status and request.transport is not None:
                request.transport.abort()
            return done

        return answer

    async def _token(self, _: web.Request) -> web.Response:
        return web.json_response({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"})

    async def _tell(self, _: web.Request) -> web.Response:
        jobs = [job.summary() | {"options": job.options, "environment": _pools(job)} for job in self._book.jobs]
        told = {"jobs": jobs, "requests": self._troubles.requests, "most_live": self._book.most_live}
        return web.json_response(told)

    async def _instruct(self, request: web.Request) -> web.Response:
        self._troubles.set(await request.json())
        return web.Response(status=204)

    async def _release(self, request: web.Request) -> web.Response:
        for job in self._book.jobs:
            if request.query.get("name", "") in job.name:
                job.released.set()
        return web.Response(status=204)

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._book.get(request.query["id"])
        if job is None:
            return web.Response(status=404)
        job.cancel()
        return web.Response(status=204)

    async def _create(self, request: web.Request) -> web.Response:
        told = await request.json()
        with self._book.lock:
            for job in self._book.named(told["name"]):
                # The service answers a repeated request with its job, and any other with the live job of that name:
                # Beam finds another request's id in it.
                if job.is_live or job.told.get("clientRequestId") == told.get("clientRequestId"):
                    return web.json_response(job.summary())
            parts = request.match_info
            job = Job(parts["project"], parts["region"], told, self._troubles.of_next_job())
            self._book.add(job)
        task = asyncio.create_task(asyncio.to_thread(self._cluster.live_through, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response(job.summary())

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        found = self._book.named(query.get("name", ""), only=query.get("filter", "ALL"))
        start = int(query.get("pageToken") or 0)
        page: dict[str, Any] = {"jobs": [job.summary() for job in found[start : start + PAGE]]}
        if len(found) > start + PAGE:
            page["nextPageToken"] = str(start + PAGE)
        return web.json_response(page)

    async def _get(self, request: web.Request) -> web.Response:
        job = self._book.get(request.match_info["id"])
        return web.json_response(job.summary()) if job else _no_job(request)

    async def _update(self, request: web.Request) -> web.Response:
        job = self._book.get(request.match_info["id"])
        if job is None:
            return _no_job(request)
        if (await request.json()).get("requestedState") in _CANCELS:
            job.cancel()
        return web.json_response(job.summary())

    async def _messages(self, request: web.Request) -> web.Response:
        job = self._book.get(request.match_info["id"])
        if job is None:
            return _no_job(request)
        least = IMPORTANCES.index(request.query.get("minimumImportance", "JOB_MESSAGE_BASIC"))
        said = [each for each in job.messages if IMPORTANCES.index(each["messageImportance"]) >= least]
        return web.json_response({"jobMessages": said})

    async def _metrics(self, request: web.Request) -> web.Response:
        job = self._book.get(request.match_info["id"])
        return web.json_response(job.metrics()) if job else _no_job(request)


def _pools(job: Job) -> dict[str, Any]:
    """Returns what the launcher asked of the workers."""
    environment = job.told["environment"]
    return {name: environment.get(name) for name in ("serviceAccountEmail", "workerZone", "workerPools", "experiments")}


def _refusal(request: web.Request) -> web.Response | None:
    project, region = request.match_info["project"], request.match_info["region"]
    if project != PROJECT:
        denied = f"Permission 'dataflow.jobs.list' denied on project: '{project}'"
        if request.method == "POST":
            denied = (
                f"Could not create workflow; user does not have write access to project: {project} Causes: "
                f"Permission 'dataflow.jobs.create' denied on project: '{project}'"
            )
        return _error(403, f"(3f1e): {denied}", "PERMISSION_DENIED")
    if region not in REGIONS:
        return _error(400, f"(3f1e): The regional endpoint '{region}' is not supported.", "INVALID_ARGUMENT")
    return None


def _no_job(request: web.Request) -> web.Response:
    text = f"(3f1e): Information about job {request.match_info['id']} could not be found in our system."
    return _error(404, text, "NOT_FOUND")


def _error(code: int, message: str, status: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message, "status": status}}, status=code)
