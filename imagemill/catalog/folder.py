"""One version folder as it is found on storage: whole, unfinished or damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from imagemill.errors import ImagemillError, UnusableData
from imagemill.manifest import MANIFEST, Manifest, parse_manifest
from imagemill.plan import PLAN, ConversionPlan, parse_plan
from imagemill.quality.report import REPORT, Report, Verdict, parse_report
from imagemill.storage.store import MissingObject, ObjectInfo, Store
from imagemill.version.ids import RETIRED, VERSIONS, created_at, object_key

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
        try:
            return parse_plan(data, where=f"{self.uri}/{PLAN}")
        except UnusableData as error:
            raise UnusableData(f"{error}; convert again") from error

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
            for entry in self.manifest.entries
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
        wrong = [entry.name for entry in self.manifest.entries if self.sizes.get(entry.name) != entry.bytes]
        if not wrong:
            return ""
        return f"{len(wrong)} of its objects are gone or have another size, such as {wrong[0]}; convert again"

    def _read(self, name: str, if_missing: str) -> bytes:
        try:
            return self._store.read(object_key(self.version, name))
        except MissingObject as error:
            raise UnusableData(f"{self.uri}/{name} is not there: {if_missing}") from error


def _readable(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ImagemillError:
        return None
