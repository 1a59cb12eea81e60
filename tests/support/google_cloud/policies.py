"""Who may do what on which resource: https://cloud.google.com/iam/docs/reference/rest/v1/Policy."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.google_cloud.refusals import Refused
from tests.support.google_cloud.roles import PREDEFINED, Kind, Role

Json = dict[str, Any]

_MEMBER = re.compile(r"(user|group|serviceAccount):([\w.-]+@[\w.-]+\.\w+)")
STALE = "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."


@dataclass
class _Policy:
    kind: Kind
    bindings: list[Json] = field(default_factory=list)
    version: int = 0

    @property
    def etag(self) -> str:
        return base64.b64encode(f"version {self.version}".encode()).decode()


class Policies:
    """The policies of all resources that exist.

    Args:
        project: The project above them all.
        first: Who has which role on it at first, by role.
    """

    def __init__(self, project: str, first: Mapping[str, str]) -> None:
        self._project = f"projects/{project}"
        bindings = [{"role": role, "members": [member]} for role, member in first.items()]
        self._policies = {self._project: _Policy("project", bindings)}
        self._roles: dict[str, Role] = dict(PREDEFINED)
        self._accounts: dict[str, int] = {}

    def add_resource(self, name: str, kind: Kind) -> None:
        self._policies[name] = _Policy(kind)

    def add_role(self, name: str, role: Role) -> None:
        self._roles[name] = role

    def add_account(self, email: str, *, unseen: int) -> None:
        """Lets policies name a service account, after that many have been refused that do.

        Google itself takes a minute: https://cloud.google.com/iam/docs/service-accounts-create.
        """
        self._accounts[email] = unseen

    def get(self, resource: str) -> Json:
        policy = self._find(resource)
        return {"version": 1, "etag": policy.etag, "bindings": policy.bindings}

    def set(self, resource: str, wanted: Mapping[str, Any], *, stale: int = 409) -> Json:
        """Replaces a policy.

        Raises:
            Refused: Somebody has changed it since it was read (with code `stale`), or it names what does not exist.
        """
        policy = self._find(resource)
        if wanted.get("etag") != policy.etag:
            raise Refused(stale, STALE)
        bindings = wanted.get("bindings", [])
        for binding in bindings:
            self._check(binding, policy.kind)
        policy.bindings, policy.version = bindings, policy.version + 1
        return self.get(resource)

    def require(self, member: str, permission: str, resource: str) -> None:
        """Proves that somebody may do something on a resource, which is there.

        Raises:
            Refused: They may not, or it is not.
        """
        granting = [self._policies[name] for name in (self._project, resource) if name in self._policies]
        bindings = [binding for policy in granting for binding in policy.bindings if member in binding["members"]]
        if not any(self._roles[binding["role"]].allows(permission) for binding in bindings):
            raise Refused(403, f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).")

    def told(self) -> Json:
        return {name: policy.bindings for name, policy in self._policies.items()}

    def _find(self, resource: str) -> _Policy:
        if resource not in self._policies:
            raise Refused(404, f"The resource {resource} was not found.")
        return self._policies[resource]

    def _check(self, binding: Mapping[str, Any], kind: Kind) -> None:
        name = binding["role"]
        role = self._roles.get(name)
        if role is None or (kind != "project" and kind not in role.kinds):
            raise Refused(400, f"Role {name} is not supported for this resource.")
        for member in binding["members"]:
            parts = _MEMBER.fullmatch(member)
            if parts is None:
                raise Refused(400, f"The member {member} is of an unknown type.")
            if parts[1] == "serviceAccount":
                self._see(parts[2])

    def _see(self, email: str) -> None:
        unseen = self._accounts.get(email, 1)
        if unseen:
            if email in self._accounts:
                self._accounts[email] -= 1
            raise Refused(400, f"Service account {email} does not exist.")
