"""Deploys a layout into a bucket, remembers what is ours there, and goes back to what was deployed before.

`data/imagemill/deployment.json` names every object that deployments made, with its checksum, so that nothing else is
ever overwritten or deleted. It is written before anything is uploaded: a deployment that was cut short is continued by
running it again. Each deployment is kept as an archive, from which a rollback lays it out anew.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import google_crc32c
from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.composer.layout import OURS, files, is_seen_last
from imagemill.errors import CallerError
from imagemill.storage import ABSENT, MissingObject, PreconditionFailed, Store, open_store
from imagemill.storage.difference import Copy
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.storage.sync import SyncSummary, plan, sync

RECORD = f"{OURS}/deployment.json"
ARCHIVES = f"{OURS}/deployments"
KEPT = 10
"""Deployments that can be gone back to."""

_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip archive can hold: the same files give the same archive."""

Checksums = Mapping[str, tuple[int, ...]]
"""By an object's key, the CRC32C of each content that deployments gave it and that it may have."""


class Deployment(BaseModel):
    """One deployment, for those who go back to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    at: datetime
    by: str


class Record(BaseModel):
    """What is deployed; the newest deployment comes first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deployments: tuple[Deployment, ...] = ()
    owned: Checksums = {}
    """Every object that deployments made and that may be there."""

    @property
    def current(self) -> str:
        return self.deployments[0].id if self.deployments else ""


class Outcome(BaseModel):
    """What a deployment did; counts leave out its own record and archive.

    Attributes:
        left: Objects that would have been deleted, had nobody changed them: they are somebody else's now.
    """

    id: str
    uploaded: int
    deleted: int
    unchanged: int
    left: tuple[str, ...] = ()


class Target:
    """An environment's bucket.

    Args:
        bucket: Its URI.
        settings: How it is reached; by default as the environment says.
    """

    def __init__(self, bucket: str, *, settings: ObjectStoreSettings | None = None) -> None:
        self._store: Store = open_store(bucket, settings=settings)

    def record(self) -> Record:
        """Returns what is deployed.

        Raises:
            CallerError: The record cannot be read.
        """
        return self._read()[0]

    def deploy(self, folder: Path, *, by: str, now: datetime | None = None) -> Outcome:
        """Makes the bucket hold what is laid out in a folder; does nothing where it does already.

        Raises:
            CallerError: An object is in the way that no deployment made, the bucket refuses, or somebody else deployed
                at the same time.
        """
        record, generation = self._read()
        ours, name = _checksums(folder), _identity(folder)
        layout = open_store(str(folder))
        self._refuse_foreign(layout, list(ours), record)
        if record.current != name:
            new = Deployment(id=name, at=now or datetime.now(UTC), by=by)
            self._keep(folder, name)
            others = tuple(each for each in record.deployments if each.id != name)
            record = Record(deployments=(new, *others[: KEPT - 1]), owned=_either(record.owned, ours))
            generation = self._write(record, generation)
            for forgotten in others[KEPT - 1 :]:
                self._store.delete(_archive(forgotten.id))
        gone, left = self._departed(record.owned, ours)
        summary = self._sync(layout, [*ours, *gone])
        self._finish(record, ours, generation)
        return Outcome(
            id=name, uploaded=summary.copied, deleted=summary.deleted, unchanged=summary.unchanged, left=tuple(left)
        )

    def unpack(self, deployment: str, folder: Path) -> None:
        """Lays out an earlier deployment in an empty folder.

        Raises:
            CallerError: It is not kept.
        """
        try:
            content = self._store.read(_archive(deployment))
        except MissingObject as error:
            kept = ", ".join(each.id for each in self.record().deployments) or "none"
            raise CallerError(f"{self._store.uri} keeps no deployment {deployment!r}; there are {kept}") from error
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)

    def previous(self) -> str:
        """Returns the deployment before the current one.

        Raises:
            CallerError: There is none.
        """
        deployments = self.record().deployments
        if len(deployments) < 2:
            raise CallerError(f"{self._store.uri} has no deployment to go back to; deploy an older checkout instead")
        return deployments[1].id

    def _departed(self, owned: Checksums, ours: Checksums) -> tuple[list[str], list[str]]:
        """Returns what is there and laid out no more: as deployments made it, and as somebody else changed it."""
        gone: list[str] = []
        left: list[str] = []
        for key in sorted(set(owned) - set(ours)):
            if (info := self._store.stat(key, checksum=True)) is not None:
                (gone if info.crc32c in owned[key] else left).append(key)
        return gone, left

    def _finish(self, record: Record, ours: Checksums, generation: str) -> None:
        """Records what is ours now.

        Raises:
            CallerError: Somebody else deployed meanwhile.
        """
        where = self._store.uri
        try:
            if record.owned != ours:
                self._write(record.model_copy(update={"owned": ours}), generation)
            elif (info := self._store.stat(RECORD)) is None or info.generation != generation:
                raise PreconditionFailed(f"{where}/{RECORD} is not the one that was written")
        except PreconditionFailed as error:
            raise CallerError(
                f"somebody else deployed to {where} at the same time, and the two may have mixed; deploy once more"
            ) from error

    def _sync(self, layout: Store, owned: Sequence[str]) -> SyncSummary:
        """Uploads what differs, modules before what imports them, and deletes what was ours and is no more."""
        total = SyncSummary()
        for last in (False, True):
            keys = tuple(key for key in owned if is_seen_last(key) == last)
            if keys:
                total += sync(layout, self._store, only=keys, delete=True)
        return total

    def _refuse_foreign(self, layout: Store, keys: Sequence[str], record: Record) -> None:
        unknown = sorted(set(keys) - set(record.owned))
        actions = plan(layout, self._store, only=unknown) if unknown else ()
        foreign = [action.key for action in actions if isinstance(action, Copy) and action.reason != "new"]
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise CallerError(
                f"{self._store.uri}/{foreign[0]}{more} is there already, and no deployment made it; move it away first"
            )

    def _keep(self, folder: Path, name: str) -> None:
        if self._store.stat(_archive(name)) is None:
            self._store.write(_archive(name), _pack(folder))

    def _read(self) -> tuple[Record, str]:
        self._store.require_target()
        info = self._store.stat(RECORD)
        if info is None:
            return Record(), ABSENT
        try:
            return Record.model_validate_json(self._store.read(RECORD)), info.generation or ABSENT
        except ValidationError as error:
            where = f"{self._store.uri}/{RECORD}"
            raise CallerError(
                f"{where} is no record of this version's ({error.error_count()} faults); use a newer checkout"
            ) from error

    def _write(self, record: Record, generation: str) -> str:
        content = record.model_dump_json(indent=1).encode()
        return self._store.write(RECORD, content, if_generation=generation).generation or ABSENT


def _archive(name: str) -> str:
    return f"{ARCHIVES}/{name}.zip"


def _checksums(folder: Path) -> dict[str, tuple[int, ...]]:
    return {key: (google_crc32c.value((folder / key).read_bytes()),) for key in files(folder)}


def _either(before: Checksums, after: Checksums) -> dict[str, tuple[int, ...]]:
    return {key: (*{*before.get(key, ()), *after.get(key, ())},) for key in sorted({*before, *after})}


def _identity(folder: Path) -> str:
    digest = hashlib.sha256()
    for key in files(folder):
        content = (folder / key).read_bytes()
        digest.update(f"{key}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _pack(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in files(folder):
            archive.writestr(zipfile.ZipInfo(key, _OLDEST), (folder / key).read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
