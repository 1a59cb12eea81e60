"""One project of Google Cloud, API by API, each under a path of its own: a request to the wrong one finds nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.composer import description
from tests.support.google_cloud.accounts import Accounts
from tests.support.google_cloud.composer import Composer
from tests.support.google_cloud.environments import Environment
from tests.support.google_cloud.policies import Policies
from tests.support.google_cloud.refusals import Refused

CONTROL = "/_standin"
PROJECT = "my-project"
DATA, TEMP, BUCKET = "my-data", "my-temp", "europe-west1-mill-0a1b2c-bucket"
"""Buckets that there are; the last is the environment's own."""
REPOSITORY = f"projects/{PROJECT}/locations/europe-west1/repositories/mill"
OWNER, ADMIN = "user:owner@example.org", "user:omar@example.org"
"""Who owns the project, and who runs its environments."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Name = Callable[[web.Request], str]


class Api:
    """Answers every request."""

    def __init__(self) -> None:
        self._policies = Policies(PROJECT, {"roles/owner": OWNER, "roles/composer.admin": ADMIN})
        for bucket in (DATA, TEMP, BUCKET):
            self._policies.add_resource(f"buckets/{bucket}", "bucket")
        self._policies.add_resource(REPOSITORY, "repository")
        self._accounts = Accounts(PROJECT, self._policies)
        self._environment = Environment(description(f"gs://{BUCKET}"))
        self._composer = Composer(self._environment, self._policies)
        self._strays: list[str] = []

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer])
        app.router.add_get(CONTROL, self._tell)
        app.router.add_patch(CONTROL, self._instruct)
        for api, add_routes in {
            "iam": self._add_iam,
            "cloudresourcemanager": self._add_projects,
            "storage": self._add_buckets,
            "artifactregistry": self._add_repositories,
            "composer": self._composer.add_routes,
        }.items():
            part = web.Application()
            add_routes(part)
            app.add_subapp(f"/{api}/", part)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path != CONTROL:
                kind, _, request["member"] = request.headers.get("Authorization", "").partition(" ")
                if kind != "Bearer":
                    raise Refused(401, "Request is missing required authentication credential.")
            return await handler(request)
        except Refused as refused:
            return refused.answer()
        except web.HTTPClientError as error:
            self._strays.append(f"{request.method} {request.path_qs}: {error.reason}")
            return Refused(404, f"No method of this name: {request.method} {request.path}").answer()

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "accounts": self._accounts.accounts,
                "roles": self._accounts.roles,
                "policies": self._policies.told(),
                "environment": self._environment.described,
                "snapshots": self._environment.snapshots,
                "executions": self._composer.executions,
                "strays": self._strays,
            }
        )

    async def _instruct(self, request: web.Request) -> web.Response:
        """Changes the environment's software, as somebody else did."""
        self._environment.software.update(await request.json())
        return web.Response(status=204)

    def _add_iam(self, app: web.Application) -> None:
        self._accounts.add_routes(app)
        path = "/v1/projects/{project}/serviceAccounts/{email:[^/:]+}"
        self._add_policy(app, path, self._accounts.resource, "iam.serviceAccounts")

    def _add_projects(self, app: web.Application) -> None:
        def name(request: web.Request) -> str:
            return f"projects/{request.match_info['project']}"

        self._add_policy(app, "/v1/projects/{project:[^/:]+}", name, "resourcemanager.projects")

    def _add_repositories(self, app: web.Application) -> None:
        path = "/projects/{project}/locations/{location}/repositories/{repository:[^/:]+}"

        def name(request: web.Request) -> str:
            return path.replace(":[^/:]+", "")[1:].format(**request.match_info)

        self._add_policy(app, f"/v1{path}", name, "artifactregistry.repositories", get="GET")

    def _add_buckets(self, app: web.Application) -> None:
        async def get(request: web.Request) -> web.Response:
            return web.json_response(self._policies.get(self._bucket(request, "storage.buckets.getIamPolicy")))

        async def put(request: web.Request) -> web.Response:
            name = self._bucket(request, "storage.buckets.setIamPolicy")
            return web.json_response(self._policies.set(name, await request.json(), stale=412))

        app.router.add_get("/v1/b/{bucket}/iam", get)
        app.router.add_put("/v1/b/{bucket}/iam", put)

    def _bucket(self, request: web.Request, permission: str) -> str:
        name = f"buckets/{request.match_info['bucket']}"
        self._policies.require(request["member"], permission, name)
        return name

    def _add_policy(self, app: web.Application, path: str, name: Name, service: str, *, get: str = "POST") -> None:
        async def tell(request: web.Request) -> web.Response:
            self._policies.require(request["member"], f"{service}.getIamPolicy", name(request))
            return web.json_response(self._policies.get(name(request)))

        async def put(request: web.Request) -> web.Response:
            self._policies.require(request["member"], f"{service}.setIamPolicy", name(request))
            return web.json_response(self._policies.set(name(request), (await request.json())["policy"]))

        app.router.add_route(get, f"{path}:getIamPolicy", tell)
        app.router.add_post(f"{path}:setIamPolicy", put)
