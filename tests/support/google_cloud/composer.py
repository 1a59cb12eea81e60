"""Composer's API: environments, their operations, and commands that run in them.

https://cloud.google.com/composer/docs/reference/rest
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.support.google_cloud.environments import Environment
from tests.support.google_cloud.policies import Json, Policies
from tests.support.google_cloud.refusals import Refused

LOOKS = 2
"""How often an operation is asked about until it has ended."""

_PLACE = "/{version:v1|v1beta1}/projects/{project}/locations/{location}"
_ENVIRONMENT = _PLACE + "/environments/{environment:[^/:]+}"
_LIST_PACKAGES = {"command": "list-packages", "subcommand": "pip list"}


@dataclass
class _Operation:
    finish: Callable[[], Json]
    looks: int = 0
    response: Json | None = None


class Composer:
    """Answers what concerns one environment.

    Attributes:
        executions: What each command that ran in it has printed.
    """

    def __init__(self, environment: Environment, policies: Policies) -> None:
        self._environment, self._policies = environment, policies
        self._operations: dict[str, _Operation] = {}
        self.executions: dict[str, list[str]] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(_ENVIRONMENT, self._get)
        app.router.add_patch(_ENVIRONMENT, self._update)
        app.router.add_post(_ENVIRONMENT + ":saveSnapshot", self._save)
        app.router.add_post(_ENVIRONMENT + ":loadSnapshot", self._load)
        app.router.add_post(_ENVIRONMENT + ":executeAirflowCommand", self._execute)
        app.router.add_post(_ENVIRONMENT + ":pollAirflowCommand", self._poll)
        app.router.add_get(_PLACE + "/operations/{operation}", self._look)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(request, "composer.environments.get").described)

    async def _update(self, request: web.Request) -> web.Response:
        environment = self._changeable(request)
        software = environment.patched(request.query.get("updateMask", ""), await request.json())
        return self._start(lambda: _put(environment, software))

    async def _save(self, request: web.Request) -> web.Response:
        environment = self._changeable(request)
        path = environment.save((await request.json()).get("snapshotLocation", ""))
        kind = "type.googleapis.com/google.cloud.orchestration.airflow.service.v1.SaveSnapshotResponse"
        return self._start(lambda: {"@type": kind, "snapshotPath": path})

    async def _load(self, request: web.Request) -> web.Response:
        environment = self._changeable(request)
        software = environment.loaded(await request.json())
        return self._start(lambda: _put(environment, software))

    async def _execute(self, request: web.Request) -> web.Response:
        environment = self._found(request, "composer.environments.executeAirflowCommand")
        asked: dict[str, Any] = await request.json()
        if asked != _LIST_PACKAGES:
            raise Refused(400, f"No command {asked} is known here.")
        execution = f"execution-{len(self.executions)}"
        self.executions[execution] = environment.packages().splitlines()
        return web.json_response({"executionId": execution, "pod": "airflow-worker-1", "podNamespace": "composer"})

    async def _poll(self, request: web.Request) -> web.Response:
        self._found(request, "composer.environments.executeAirflowCommand")
        asked = await request.json()
        lines = enumerate(self.executions[asked["executionId"]], start=1)
        output = [
            {"lineNumber": number, "content": line} for number, line in lines if number >= asked["nextLineNumber"]
        ]
        return web.json_response({"output": output, "outputEnd": True, "exitInfo": {"exitCode": 0}})

    async def _look(self, request: web.Request) -> web.Response:
        name = request.match_info["operation"]
        project = f"projects/{request.match_info['project']}"
        self._policies.require(request["member"], "composer.operations.get", project)
        if name not in self._operations:
            raise Refused(404, f"Operation {name} not found.")
        operation = self._operations[name]
        operation.looks += 1
        if operation.looks == LOOKS:
            operation.response = operation.finish()
            self._environment.described["state"] = "RUNNING"
        return web.json_response(self._told(name))

    def _start(self, finish: Callable[[], Json]) -> web.Response:
        name = f"operation-{len(self._operations)}"
        self._operations[name] = _Operation(finish)
        self._environment.described["state"] = "UPDATING"
        return web.json_response(self._told(name))

    def _told(self, name: str) -> Json:
        place, _, _ = self._environment.name.partition("/environments/")
        operation = self._operations[name]
        ended = {} if operation.response is None else {"done": True, "response": operation.response}
        return {"name": f"{place}/operations/{name}"} | ended

    def _found(self, request: web.Request, permission: str) -> Environment:
        parts = request.match_info
        self._policies.require(request["member"], permission, f"projects/{parts['project']}")
        name = f"projects/{parts['project']}/locations/{parts['location']}/environments/{parts['environment']}"
        if name != self._environment.name:
            raise Refused(404, f"Resource '{name}' was not found")
        return self._environment

    def _changeable(self, request: web.Request) -> Environment:
        environment = self._found(request, "composer.environments.update")
        if (state := environment.described["state"]) != "RUNNING":
            text = f"Cannot update environment with state {state}. Environment must be in RUNNING state."
            raise Refused(400, text, "FAILED_PRECONDITION")
        return environment


def _put(environment: Environment, software: Json) -> Json:
    environment.described["config"]["softwareConfig"] = software
    kind = "type.googleapis.com/google.cloud.orchestration.airflow.service.v1.Environment"
    return {"@type": kind} | environment.described
