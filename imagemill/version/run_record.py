"""`run.json`: who converted a version, when, why and with what. Nothing in it affects the version's bytes."""

from __future__ import annotations

import getpass
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.storage import open_store
from imagemill.storage.store import MissingObject, Store

RUN = "run.json"


class JobRecord(BaseModel):
    """The Beam job that converted a version."""

    model_config = ConfigDict(frozen=True)

    runner: str
    id: str = Field("", description="the job's id, where its runner gives jobs one")
    seconds: float = Field(ge=0, description="from its launch, or from when a later try joined it, to its end")


class ApprovalRecord(BaseModel):
    """What a person said to a version."""

    model_config = ConfigDict(frozen=True)

    verdict: Literal["approved", "rejected", "timed out"]
    by: str = Field("", description="who said it; empty where nobody did")
    reason: str = ""
    at: datetime


class RunRecord(BaseModel):
    """The circumstances of one conversion, for a person."""

    model_config = ConfigDict(frozen=True)

    requested_at: datetime = Field(description="when it was last asked for")
    requested_by: str
    reason: str = Field(description="why there was something to convert")
    note: str = Field("", description="what the person who last asked for it says about it")
    runner: str = Field(description="where it was to be converted; `job` tells where it was")
    source: dict[str, str] = Field(default_factory=dict, description="the spec's source")
    host: str
    versions: dict[str, str] = Field(description="of imagemill and of what it runs on")
    spec: dict[str, Any] = Field(
        default_factory=dict, description="the spec that the run began with, where it differs from the defaults"
    )
    job: JobRecord | None = None
    approval: ApprovalRecord | None = Field(None, description="the last answer; None where nobody was asked")


def record_run(
    version_uri: str,
    *,
    requested_at: datetime,
    requested_by: str,
    reason: str,
    note: str = "",
    runner: str,
    source: dict[str, str],
    spec: dict[str, Any],
) -> None:
    """Writes `run.json` into a version's folder."""
    record = RunRecord(
        requested_at=requested_at,
        requested_by=requested_by,
        reason=reason,
        note=note,
        runner=runner,
        source=source,
        spec=spec,
        host=platform.node(),
        versions={"python": platform.python_version()}
        | {name: found for name in ("imagemill", "apache-beam", "apache-airflow") if (found := package_version(name))},
    )
    _write(open_store(version_uri), record)


def record_asker(version_uri: str, *, requested_at: datetime, requested_by: str, note: str) -> None:
    """Notes who asks now for a version that is converted already; a record that is gone or unreadable stays so."""
    store = open_store(version_uri)
    if record := read_run(store):
        asker = {"requested_at": requested_at, "requested_by": requested_by, "note": note}
        _write(store, record.model_copy(update=asker))


def record_job(version_uri: str, *, runner: str, job_id: str = "", seconds: float) -> None:
    """Adds the job that has converted a version to its `run.json`; a record that is gone or unreadable stays so."""
    store = open_store(version_uri)
    if record := read_run(store):
        job = JobRecord(runner=runner, id=job_id, seconds=round(seconds, 1))
        _write(store, record.model_copy(update={"job": job}))


def record_approval(
    version_uri: str, *, verdict: Literal["approved", "rejected", "timed out"], by: str, reason: str, at: datetime
) -> None:
    """Adds what a person said to a version's `run.json`; a record that is gone or unreadable stays so."""
    store = open_store(version_uri)
    if record := read_run(store):
        answer = ApprovalRecord(verdict=verdict, by=by, reason=reason, at=at)
        _write(store, record.model_copy(update={"approval": answer}))


def read_run(store: Store) -> RunRecord | None:
    """Returns a version's `run.json`, None where it is gone or unreadable."""
    try:
        return RunRecord.model_validate_json(store.read(RUN))
    except (MissingObject, ValidationError):
        return None


def whoami() -> str:
    """Returns the name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user may have no name


def _write(store: Store, record: RunRecord) -> None:
    store.write(RUN, record.model_dump_json(indent=1).encode() + b"\n")


def package_version(package: str) -> str:
    """Returns the version of an installed package, "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
