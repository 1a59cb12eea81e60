"""`run.json`: who converted a version, when and with what. Nothing in it affects the version's bytes."""

from __future__ import annotations

import getpass
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict

from imagemill.storage import open_store

RUN = "run.json"


class RunRecord(BaseModel):
    """The circumstances of one conversion, for a person."""

    model_config = ConfigDict(frozen=True)

    requested_at: datetime
    requested_by: str
    reason: str
    runner: str
    host: str
    versions: dict[str, str]
    """Of imagemill and of what it runs on."""


def record_run(version_uri: str, *, requested_at: datetime, reason: str, runner: str) -> None:
    """Writes `run.json` into a version's folder."""
    record = RunRecord(
        requested_at=requested_at,
        requested_by=whoami(),
        reason=reason,
        runner=runner,
        host=platform.node(),
        versions={"python": platform.python_version()}
        | {name: found for name in ("imagemill", "apache-beam", "apache-airflow") if (found := _version(name))},
    )
    open_store(version_uri).write(RUN, record.model_dump_json(indent=1).encode() + b"\n")


def whoami() -> str:
    """Returns the name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user may have no name


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
