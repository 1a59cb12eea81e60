"""A Composer environment, as its API changes it: what may be changed, packages that get installed, snapshots.

https://cloud.google.com/composer/docs/reference/rest/v1/projects.locations.environments
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from deploy.composer.ranges import PREINSTALLED, read_packages
from tests.support.google_cloud.refusals import Refused

Json = dict[str, Any]

IMAGES = ("composer-3-airflow-3.3.1-build.0", "composer-3-airflow-3.3.1-build.1")

_PATH = re.compile(r"config\.software_config\.(pypi_packages|env_variables|image_version)(?:\.(.+))?")
_FIELDS = {"pypi_packages": "pypiPackages", "env_variables": "envVariables", "image_version": "imageVersion"}
_VARIABLE = re.compile(r"(?!AIRFLOW__[A-Z0-9_]+__)[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED = {
    "AIRFLOW_HOME", "C_FORCE_ROOT", "CONTAINER_NAME", "DAGS_FOLDER", "GCP_PROJECT", "GCS_BUCKET", "GKE_CLUSTER_NAME",
    "SQL_DATABASE", "SQL_INSTANCE", "SQL_PASSWORD", "SQL_PROJECT", "SQL_REGION", "SQL_USER",
}  # fmt: skip


class Environment:
    """One environment.

    Args:
        described: What its API tells of it.
    """

    def __init__(self, described: Json) -> None:
        self.described = described
        self.snapshots: dict[str, Json] = {}

    @property
    def name(self) -> str:
        return self.described["name"]

    @property
    def software(self) -> Json:
        return self.described["config"]["softwareConfig"]

    def patched(self, mask: str, patch: Mapping[str, Any]) -> Json:
        """Returns the software as an update leaves it.

        Raises:
            Refused: The API allows no such update.
        """
        paths = [_PATH.fullmatch(path) for path in mask.split(",")]
        known = [path for path in paths if path]
        if len(known) < len(paths) or len({path[1] for path in known}) != 1:
            raise Refused(400, f"The update mask {mask} is not of one kind that can be updated.")
        field = _FIELDS[known[0][1]]
        given = patch.get("config", {}).get("softwareConfig", {}).get(field, {})
        software = copy.deepcopy(self.software)
        if known[0][2] is None:
            software[field] = given
        else:
            named = {path[2]: given.get(path[2]) for path in known}
            merged = software.get(field, {}) | named
            software[field] = {name: value for name, value in merged.items() if value is not None}
        _check(software)
        return software

    def packages(self) -> str:
        """Returns what `pip list` prints in it."""
        found = {name: str(version) for name, version in read_packages(PREINSTALLED.read_text(), where="").items()}
        for name, wanted in self.software.get("pypiPackages", {}).items():
            found.setdefault(name, next((each.version for each in Requirement(name + wanted).specifier), "1.0"))
        return "\n".join(["Package Version", "------- -------", *(f"{name} {found[name]}" for name in sorted(found))])

    def save(self, location: str) -> str:
        """Keeps a snapshot, in the environment's own bucket unless a location is given, and returns its path."""
        if location and not location.startswith("gs://"):
            raise Refused(400, f"The snapshot location {location} is none in Cloud Storage.")
        folder = location or f"gs://{self.described['storageConfig']['bucket']}/snapshots"
        project, region, name = self.name.split("/")[1::2]
        path = f"{folder}/{project}_{region}_{name}_{len(self.snapshots)}"
        self.snapshots[path] = copy.deepcopy(self.software)
        return path

    def loaded(self, asked: Mapping[str, Any]) -> Json:
        """Returns the software as a snapshot leaves it; the image stays."""
        if (path := asked.get("snapshotPath", "")) not in self.snapshots:
            raise Refused(400, f"There is no snapshot {path}.")
        skipped = {
            "pypiPackages": asked.get("skipPypiPackagesInstallation"),
            "envVariables": asked.get("skipEnvironmentVariablesSetting"),
        }
        kept = {field: self.snapshots[path].get(field, {}) for field, skip in skipped.items() if not skip}
        return copy.deepcopy(self.software | kept)


def _check(software: Mapping[str, Any]) -> None:
    if software["imageVersion"] not in IMAGES:
        raise Refused(400, f"Image version {software['imageVersion']} is not supported.")
    for name in software.get("envVariables", {}):
        if not _VARIABLE.fullmatch(name) or name in _RESERVED:
            raise Refused(400, f"The environment variable {name} is reserved, or its name is not valid.")
    for name, wanted in software.get("pypiPackages", {}).items():
        try:
            Requirement(name + wanted)
        except InvalidRequirement as error:
            raise Refused(400, f"The PyPI package {name}{wanted} is not valid: {error}") from error
        if name != name.lower():
            raise Refused(400, f"The name of the PyPI package {name} is not in lower case.")
