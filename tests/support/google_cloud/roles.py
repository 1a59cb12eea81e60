"""The predefined roles that exist here: what each allows of what this stand-in does, and on what it can be granted.

Taken from https://cloud.google.com/iam/docs/roles-permissions, pages `composer`, `dataflow`, `storage`, `iam` and
`artifactregistry`: "Lowest-level resources where you can grant this role", and the permissions. Permissions that
nothing here asks for are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Kind = Literal["project", "account", "bucket", "repository"]

EVERYTHING = "*"


@dataclass(frozen=True)
class Role:
    """A role.

    Attributes:
        kinds: Resources it can be granted on, beside projects.
        permissions: What it allows; `EVERYTHING` for an owner.
    """

    kinds: Collection[Kind] = ()
    permissions: Collection[str] = ()

    def allows(self, permission: str) -> bool:
        return permission in self.permissions or EVERYTHING in self.permissions


_READ = ("composer.environments.get", "composer.environments.list", "composer.operations.get")
TESTABLE = (*_READ, "composer.environments.executeAirflowCommand", "composer.environments.update")
"""Permissions that a custom role of a project can have."""

PREDEFINED = {
    "roles/owner": Role(permissions=(EVERYTHING,)),
    "roles/artifactregistry.reader": Role(kinds=("repository",)),
    "roles/artifactregistry.writer": Role(kinds=("repository",)),
    "roles/composer.admin": Role(permissions=TESTABLE),
    "roles/composer.user": Role(permissions=_READ),
    "roles/composer.worker": Role(permissions=("composer.environments.get",)),
    "roles/dataflow.admin": Role(),
    "roles/dataflow.developer": Role(),
    "roles/dataflow.worker": Role(),
    "roles/iam.serviceAccountTokenCreator": Role(kinds=("account",)),
    "roles/iam.serviceAccountUser": Role(kinds=("account",)),
    "roles/storage.admin": Role(kinds=("bucket",)),
    "roles/storage.objectAdmin": Role(kinds=("bucket",)),
    "roles/storage.objectUser": Role(kinds=("bucket",)),
    "roles/storage.objectViewer": Role(kinds=("bucket",)),
}
