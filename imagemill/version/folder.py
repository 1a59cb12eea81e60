"""One version folder as it is found on storage: whole, unfinished or damaged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from imagemill.errors import CallerError, ImagemillError, UnusableData
from imagemill.manifest import MANIFEST, FileEntry, Manifest, parse_manifest
from imagemill.plan import PLAN, ConversionPlan, parse_plan
from imagemill.quality.report import REPORT, Report, Verdict, parse_report
from imagemill.storage.store import MissingObject, ObjectInfo, Store

VERSIONS = "versions/"

RETIRED = "retired.json"
"""Mark of a version that `prune` is removing; with it, or without a manifest, a folder is no version."""

FINGERPRINT_DIGITS = 8

VERSION_PATTERN = rf"(\d{{8}}T\d{{6}}Z)-([0-9a-f]{{{FINGERPRINT_DIGITS}}})"
_VERSION_ID = re.compile(VERSION_PATTERN)
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"

T = TypeVar("T")


class VersionInfo(BaseModel):
    """What a person asks about a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    uri: str
    created_at: datetime
    complete: bool = Field(description="has a manifest; without one it is an unfinished candidate")
    current: bool
    bytes: int
    objects: int
    fingerprint: str = Field(description="empty where plan.json cannot be read")
    rows: int | None = Field(description="None where the manifest is missing or unreadable, like the next two")
    records: int | None
    rejected: int | None
    verdict: Verdict | None = Field(description="None where it was never validated")
    obstacle: str = Field(description="why it cannot be published; empty where it can")


def new_version_id(fingerprint: str, now: datetime) -> str:
    """Returns `<YYYYMMDDTHHMMSSZ>-<first 8 digits of the fingerprint>`; ids sort by time.

    Raises:
        ValueError: `now` has no time zone, or the fingerprint is not hexadecimal.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now.isoformat()} has no time zone; pass an aware datetime")
    version = f"{now.astimezone(UTC).strftime(_TIME_FORMAT)}-{fingerprint[:FINGERPRINT_DIGITS]}"
    if _VERSION_ID.fullmatch(version) is None:
        raise ValueError(f"{fingerprint!r} is not a hexadecimal fingerprint")
    return version


def created_at(version: str) -> datetime:
    """Returns the time in a version id.

    Raises:
        CallerError: It is not a version id.
    """
    match = _VERSION_ID.fullmatch(version)
    try:
        if match:
            return datetime.strptime(match[1], _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:  # digits that are no date, such as month 13
        pass
    raise CallerError(f"{version!r} is not a version id; they look like 20260131T235959Z-0123abcd")


def is_version_id(name: str) -> bool:
    try:
        created_at(name)
    except CallerError:
        return False
    return True


def object_key(version: str, name: str) -> str:
    """Returns an object's key relative to the dataset's output folder."""
    return f"{VERSIONS}{version}/{name}"


class VersionFolder:
    """A version folder and what its objects say; each is read once, when it is first asked for.

    Args:
        store: The dataset's output folder.
        version: Its id.
        objects: Its listing.
        published: Id of the published version; None where there is none that could be read.

    Attributes:
        version: Its id.
        current: Whether it is the published one.
        uri: Its location.
        sizes: Bytes by object name, from one listing.
    """

    def __init__(self, store: Store, version: str, objects: Iterable[ObjectInfo], *, published: str | None) -> None:
        self._store, self._published = store, published
        self.version, self.current = version, version == published
        self.uri = f"{store.uri.rstrip('/')}/{VERSIONS}{version}"
        prefix = object_key(version, "")
        self.sizes = {info.key.removeprefix(prefix): info.size for info in objects}

    @property
    def marked(self) -> bool:
        return RETIRED in self.sizes

    @property
    def retired(self) -> bool:
        """Whether it is going; a mark that lost the race against its publication means nothing."""
        return self.marked and not self.current

    @property
    def complete(self) -> bool:
        return MANIFEST in self.sizes and not self.retired

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())

    @cached_property
    def _manifest_bytes(self) -> bytes:
        return self._read(MANIFEST, "the conversion did not finish; run the refresh again")

    @cached_property
    def manifest(self) -> Manifest:
        return parse_manifest(self._manifest_bytes, where=f"{self.uri}/{MANIFEST}")

    @cached_property
    def manifest_sha256(self) -> str:
        return hashlib.sha256(self._manifest_bytes).hexdigest()

    @cached_property
    def plan(self) -> ConversionPlan:
        data = self._read(PLAN, "nobody knows what the version is made of; convert again")
        return parse_plan(data, where=f"{self.uri}/{PLAN}")

    @cached_property
    def report(self) -> Report:
        return parse_report(self._read(REPORT, "it was never validated; validate it"), where=f"{self.uri}/{REPORT}")

    @cached_property
    def obstacle(self) -> str:
        """Why the version may not be published; empty where it may."""
        return self.obstacle_if(forced=False)

    def obstacle_if(self, *, forced: bool) -> str:
        """Returns why the version may not be published, even if failed checks are overridden by force."""
        if self.retired:
            return "it is being removed by `prune`; choose another version"
        if not self.complete:
            return f"it has no {MANIFEST}: the conversion did not finish; run the refresh again"
        try:
            return self._limited() or self._unproven(forced=forced) or self._damaged()
        except ImagemillError as error:
            return str(error)

    def damaged_objects(self) -> list[str]:
        """Returns the objects that differ from the manifest in size or checksum; those bytes are read on a local disk.

        Raises:
            UnusableData: There is no readable manifest.
        """
        prefix = object_key(self.version, "")
        found = {info.key.removeprefix(prefix): info for info in self._store.list(prefix, checksums=True)}
        return [
            entry.name
            for entry in manifest_entries(self.manifest)
            if (info := found.get(entry.name)) is None
            or info.size != entry.bytes
            or (info.crc32c is not None and f"{info.crc32c:08x}" != entry.crc32c)
        ]

    def describe(self) -> VersionInfo:
        manifest = _readable(lambda: self.manifest)
        plan = _readable(lambda: self.plan)
        report = _readable(lambda: self.report)
        return VersionInfo(
            version=self.version,
            uri=self.uri,
            created_at=created_at(self.version),
            complete=self.complete,
            current=self.current,
            bytes=self.total_bytes,
            objects=len(self.sizes),
            fingerprint=plan.fingerprint if plan else "",
            rows=manifest.rows if manifest else None,
            records=manifest.records if manifest else None,
            rejected=manifest.rejected if manifest else None,
            verdict=report.verdict if report else None,
            obstacle=self.obstacle,
        )

    def _limited(self) -> str:
        if self.plan.sample_below is None:
            return ""
        return "it holds a limited sample of the rows; run the refresh without a limit"

    def _unproven(self, *, forced: bool) -> str:
        if REPORT not in self.sizes:
            return "it was never validated; validate it first"
        if self.report.manifest_sha256 != self.manifest_sha256:
            return f"its {MANIFEST} has changed since it was validated; validate it again"
        if not self.report.passed and not forced:
            names = ", ".join(check.name for check in self.report.failures)
            return f"its validation failed ({names}); {REPORT} says what to do"
        return "" if forced or self.current else self._outdated()

    def _outdated(self) -> str:
        """How far it is from what is published now, nobody has judged: its report compares with another version."""
        base = self.report.base
        if base is None or self._published in (None, base.version):
            return ""
        return f"it was compared with {base.version}, and {self._published} is published now; validate it again"

    def _damaged(self) -> str:
        wrong = [entry.name for entry in manifest_entries(self.manifest) if self.sizes.get(entry.name) != entry.bytes]
        if not wrong:
            return ""
        return f"{len(wrong)} of its objects are gone or have another size, such as {wrong[0]}; convert again"

    def _read(self, name: str, if_missing: str) -> bytes:
        try:
            return self._store.read(object_key(self.version, name))
        except MissingObject as error:
            raise UnusableData(f"{self.uri}/{name} is not there: {if_missing}") from error


def manifest_entries(manifest: Manifest) -> list[FileEntry]:
    """Returns every object that a manifest names: shards, their indexes, other files."""
    return [*manifest.shards, *(shard.index for shard in manifest.shards), *manifest.files]


def _readable(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ImagemillError:
        return None
