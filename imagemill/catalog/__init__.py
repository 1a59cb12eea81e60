"""The versions of one dataset: which there are, which is published, and how that changes.

`CURRENT` moves by one conditional write, whose generation is read before anything is decided. So of two that publish
at once one loses cleanly, and `CURRENT` never names a version that is going away: `imagemill.catalog.pruning` says why.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from imagemill.catalog.folder import VersionFolder, VersionInfo
from imagemill.catalog.history import HistoryEntry, Move, newest_in_folder, read_history, way_back, write_entry
from imagemill.catalog.pointer import CURRENT, Pointer, PointerObject
from imagemill.catalog.pruning import Pruning, RetentionPolicy, plan_pruning
from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import MANIFEST, Manifest, parse_manifest
from imagemill.storage import open_store
from imagemill.storage.store import MissingObject, ObjectInfo, Store
from imagemill.version.ids import FINGERPRINT_DIGITS, VERSIONS, created_at, is_version_id, new_version_id, object_key

__all__ = [
    "CURRENT",
    "Catalog",
    "CurrentVersion",
    "Pruning",
    "Publication",
    "RetentionPolicy",
    "VersionInfo",
    "current",
    "new_version_id",
    "read_manifest",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CurrentVersion(_Frozen):
    """The published version, seen to exist with the manifest that was published."""

    version: str
    uri: str
    manifest_sha256: str


class Publication(_Frozen):
    """What `publish` or `rollback` did."""

    version: str
    uri: str
    previous: str | None = Field(description="version that CURRENT named before; None where none or unreadable")
    moved: bool = Field(description="False where it already was the published version")


def current(output_uri: str) -> str:
    """Returns the URI of a dataset's published version.

    Raises:
        CallerError: Nothing is published there.
        UnusableData: CURRENT is unreadable, or its version is gone or changed.
    """
    published = Catalog(output_uri).current()
    if published is None:
        raise CallerError(f"{output_uri} has no published version; check the location, or publish one first")
    return published.uri


class Catalog:
    """The versions under one dataset's output folder.

    Args:
        output_uri: That folder.
        store: The store to use for it, instead of the one that its URI opens.
    """

    def __init__(self, output_uri: str, *, store: Store | None = None) -> None:
        self._store = store or open_store(output_uri)
        self.uri = self._store.uri.rstrip("/")
        self._pointer = PointerObject(self._store)

    def version_uri(self, version: str) -> str:
        return f"{self.uri}/{VERSIONS}{version}"

    def versions(self) -> list[VersionInfo]:
        """Returns every version folder, newest first; a damaged one is described, not an exception."""
        return [folder.describe() for folder in self._folders(self._pointer.read_if_sound())]

    def current(self) -> CurrentVersion | None:
        """Returns the published version, or None where nothing was ever published.

        Raises:
            UnusableData: CURRENT is unreadable, or names a version that is gone or whose manifest has changed.
        """
        pointer = self._pointer.read()
        if pointer is None:
            return None
        uri = self.version_uri(pointer.version)
        try:
            manifest = self._store.read(object_key(pointer.version, MANIFEST))
        except MissingObject as error:
            raise UnusableData(
                f"{self.uri}/{CURRENT} names {pointer.version}, but {uri}/{MANIFEST} is gone; "
                "roll back to another version, or have the refresh make a new one with --force and publish it"
            ) from error
        digest = hashlib.sha256(manifest).hexdigest()
        if digest != pointer.manifest_sha256:
            raise UnusableData(
                f"{uri}/{MANIFEST} is not the one that was published (sha256 {digest[:12]}…, published "
                f"{pointer.manifest_sha256[:12]}…): somebody changed the version; roll back to another one, "
                "or have the refresh make a new one with --force and publish it"
            )
        return CurrentVersion(version=pointer.version, uri=uri, manifest_sha256=digest)

    def find(self, fingerprint: str) -> VersionInfo | None:
        """Returns the version or candidate that was planned with this fingerprint, to reuse or resume it.

        Complete ones come before unfinished ones, newer before older.
        """
        ending = f"-{fingerprint[:FINGERPRINT_DIGITS]}"
        found = [
            folder.describe()
            for folder in self._folders(self._pointer.read_if_sound())
            if folder.version.endswith(ending) and not folder.retired
        ]
        same = [info for info in found if info.fingerprint == fingerprint]
        return max(same, key=lambda info: (info.complete, info.version), default=None)

    def publish(
        self,
        version: str,
        *,
        by: str = "",
        reason: str = "",
        run: str = "",
        force: bool = False,
        now: datetime | None = None,
    ) -> Publication:
        """Makes `version` the published one; publishing the published version again changes nothing.

        Args:
            version: Its id.
            by: Who does it, for the history.
            reason: Why, for the history.
            run: The refresh that does it, for the history.
            force: Publish in spite of failed checks; that takes a reason.
            now: The time of the history's entry.

        Raises:
            CallerError: There is no such version, or force has no reason.
            PreconditionFailed: Somebody else moved CURRENT meanwhile.
            UnusableData: It is unfinished, limited, damaged, not validated, or failed its validation.
        """
        if force and not reason.strip():
            raise CallerError(f"publishing {version} by force takes a reason, for those who ask later; give one")
        generation = self._pointer.generation()
        previous = self._pointer.read_if_sound()
        folder = self._admit(version, previous, forced=force)
        move = _Move("publish", folder, by, reason, run, now or datetime.now(UTC))
        return self._move(move, previous, generation)

    def rollback(
        self, version: str | None = None, *, by: str = "", reason: str = "", now: datetime | None = None
    ) -> Publication:
        """Makes an older version the published one: the given one, or the one that was published before the current.

        Its objects are held against its manifest first, by size and checksum.

        Raises:
            CallerError: There is no such version, or none to go back to.
            PreconditionFailed: Somebody else moved CURRENT meanwhile.
            UnusableData: The given version may not be published, or is damaged.
        """
        generation = self._pointer.generation()
        previous = self._pointer.read_if_sound()
        entries = list(self._history(previous))
        if version is None:
            folder = self._before(previous, entries)
        else:
            # What was published once, by force or not, may be published again.
            folder = self._admit(version, previous, forced=any(entry.version == version for entry in entries))
            if damaged := folder.damaged_objects():
                raise UnusableData(
                    f"{folder.uri} is damaged: {len(damaged)} objects are not as its manifest says, such as "
                    f"{damaged[0]}; roll back to another version"
                )
        move = _Move("rollback", folder, by, reason, "", now or datetime.now(UTC))
        return self._move(move, previous, generation)

    def history(self) -> list[HistoryEntry]:
        """Returns every move of CURRENT, newest first."""
        return list(self._history(self._pointer.read_if_sound()))

    def prune(self, policy: RetentionPolicy, *, dry_run: bool = False, now: datetime | None = None) -> Pruning:
        """Marks versions that the policy does not keep, and removes those whose time of grace is over.

        Where nothing is published, nothing is removed.

        Raises:
            PreconditionFailed: Somebody else moved CURRENT meanwhile; nothing was removed.
        """
        now = now or datetime.now(UTC)
        generation = self._pointer.generation()
        pointer = self._pointer.read_if_sound()
        published = itertools.chain([pointer.version], (e.version for e in self._history(pointer))) if pointer else ()
        plan = plan_pruning(self._store, self._folders(pointer), published, policy=policy, now=now)
        if pointer and not dry_run:
            plan.carry_out(self._store, renew=lambda: self._pointer.move(pointer, generation), now=now)
        return plan.summary(dry_run=dry_run)

    def _history(self, pointer: Pointer | None) -> Iterator[HistoryEntry]:
        return read_history(self._store, pointer.entry if pointer else newest_in_folder(self._store))

    def _move(self, move: _Move, previous: Pointer | None, generation: str) -> Publication:
        folder = move.folder
        version, digest = folder.version, folder.manifest_sha256
        moved = previous is None or (previous.version, previous.manifest_sha256) != (version, digest)
        if moved:
            entry = HistoryEntry(
                action=move.action,
                version=version,
                previous=previous.version if previous else None,
                at=move.at,
                by=move.by,
                reason=move.reason,
                run=move.run,
                overridden=tuple(check.name for check in folder.report.failures),
                parent=previous.entry if previous else newest_in_folder(self._store),
            )
            name = write_entry(self._store, entry)
            self._pointer.move(Pointer(version=version, manifest_sha256=digest, entry=name), generation)
        return Publication(
            version=version, uri=folder.uri, previous=previous.version if previous else None, moved=moved
        )

    def _admit(self, version: str, pointer: Pointer | None, *, forced: bool) -> VersionFolder:
        created_at(version)  # refuses what is no version id before it becomes part of a key
        objects = list(self._store.list(object_key(version, "")))
        if not objects:
            known = ", ".join(folder.version for folder in self._folders(pointer)[:5]) or "none"
            raise CallerError(f"{self.uri} has no version {version}; the newest are: {known}")
        folder = VersionFolder(self._store, version, objects, published=pointer.version if pointer else None)
        if obstacle := folder.obstacle_if(forced=forced):
            raise UnusableData(f"{folder.uri} cannot be published: {obstacle}")
        return folder

    def _before(self, pointer: Pointer | None, entries: Sequence[HistoryEntry]) -> VersionFolder:
        folders = {folder.version: folder for folder in self._folders(pointer) if not folder.current}
        for version in way_back(entries):
            folder = folders.get(version)
            if folder and not folder.obstacle_if(forced=True) and not folder.damaged_objects():
                return folder
        raise CallerError(
            f"{self.uri} has no intact version that was published before "
            f"{pointer.version if pointer else 'this'}; name one, or publish a new version"
        )

    def _folders(self, pointer: Pointer | None) -> list[VersionFolder]:
        """Returns the version folders, newest first; what else lies under `versions/` is not imagemill's."""
        grouped: dict[str, list[ObjectInfo]] = {}
        for info in self._store.list(VERSIONS):
            version, slash, _ = info.key.removeprefix(VERSIONS).partition("/")
            if slash and is_version_id(version):
                grouped.setdefault(version, []).append(info)
        published = pointer.version if pointer else None
        return [
            VersionFolder(self._store, version, grouped[version], published=published)
            for version in sorted(grouped, reverse=True)
        ]


class _Move(NamedTuple):
    action: Move
    folder: VersionFolder
    by: str
    reason: str
    run: str
    at: datetime


def read_manifest(version_uri: str) -> Manifest:
    """Returns the manifest of a version.

    Raises:
        UnusableData: There is none, or it is not readable.
    """
    store = open_store(version_uri)
    where = f"{store.uri.rstrip('/')}/{MANIFEST}"
    try:
        return parse_manifest(store.read(MANIFEST), where=where)
    except MissingObject as error:
        raise UnusableData(f"{where} is not there: the conversion did not finish; run the refresh again") from error
