"""IAM's own API: service accounts and a project's custom roles. https://cloud.google.com/iam/docs/reference/rest"""

from __future__ import annotations

import re

from aiohttp import web

from tests.support.google_cloud.policies import Json, Policies
from tests.support.google_cloud.refusals import Refused
from tests.support.google_cloud.roles import TESTABLE, Role

UNSEEN = 1
"""How many policies with a new account are refused before it is known everywhere."""

_ACCOUNT_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")


class Accounts:
    """Answers what concerns service accounts and custom roles of one project."""

    def __init__(self, project: str, policies: Policies) -> None:
        self._project, self._policies = f"projects/{project}", policies
        self._domain = f"{project}.iam.gserviceaccount.com"
        self.accounts: dict[str, Json] = {}
        self.roles: dict[str, Json] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/projects/{project}/serviceAccounts", self._create)
        app.router.add_get("/v1/projects/{project}/serviceAccounts/{email}", self._get)
        app.router.add_post("/v1/projects/{project}/roles", self._create_role)
        app.router.add_get("/v1/projects/{project}/roles/{role}", self._get_role)
        app.router.add_post("/v1/permissions:queryTestablePermissions", self._testable)

    def resource(self, request: web.Request) -> str:
        """Returns the name of the account that a request asks about.

        Raises:
            Refused: There is none. Who asks in no certain project is told less.
        """
        project, email = request.match_info["project"], request.match_info["email"]
        if email not in self.accounts:
            if project == "-":
                raise Refused(403, "Permission 'iam.serviceAccounts.get' denied on resource (or it may not exist).")
            raise Refused(404, f"Unknown service account {email}")
        return f"{self._project}/serviceAccounts/{email}"

    async def _create(self, request: web.Request) -> web.Response:
        self._require(request, "iam.serviceAccounts.create")
        asked = await request.json()
        if not _ACCOUNT_ID.fullmatch(asked["accountId"]):
            raise Refused(400, f"Invalid service account id {asked['accountId']}")
        email = f"{asked['accountId']}@{self._domain}"
        name = f"{self._project}/serviceAccounts/{email}"
        if email in self.accounts:
            text = f"Service account {asked['accountId']} already exists within project {self._project}."
            raise Refused(409, text, "ALREADY_EXISTS")
        self.accounts[email] = {"name": name, "email": email, **asked.get("serviceAccount", {})}
        self._policies.add_resource(name, "account")
        self._policies.add_account(email, unseen=UNSEEN)
        return web.json_response(self.accounts[email])

    async def _get(self, request: web.Request) -> web.Response:
        name = self.resource(request)
        self._policies.require(request["member"], "iam.serviceAccounts.get", name)
        return web.json_response(self.accounts[request.match_info["email"]])

    async def _create_role(self, request: web.Request) -> web.Response:
        self._require(request, "iam.roles.create")
        asked = await request.json()
        role, name = asked["role"], f"{self._project}/roles/{asked['roleId']}"
        permissions = role.get("includedPermissions", [])
        unknown = sorted(set(permissions) - set(TESTABLE))
        if unknown or not _ROLE_ID.fullmatch(asked["roleId"]):
            raise Refused(400, f"Permission {unknown} is not valid, or the role's id {asked['roleId']} is not.")
        if name in self.roles:
            raise Refused(409, f"A role named {asked['roleId']} in {self._project} already exists.", "ALREADY_EXISTS")
        self.roles[name] = role | {"name": name}
        self._policies.add_role(name, Role(permissions=tuple(permissions)))
        return web.json_response(self.roles[name])

    async def _get_role(self, request: web.Request) -> web.Response:
        self._require(request, "iam.roles.get")
        name = f"projects/{request.match_info['project']}/roles/{request.match_info['role']}"
        if name not in self.roles:
            raise Refused(404, f"The role named {name} was not found.")
        return web.json_response(self.roles[name])

    async def _testable(self, _: web.Request) -> web.Response:
        return web.json_response({"permissions": [{"name": name, "stage": "GA"} for name in TESTABLE]})

    def _require(self, request: web.Request, permission: str) -> None:
        self._policies.require(request["member"], permission, f"projects/{request.match_info['project']}")
