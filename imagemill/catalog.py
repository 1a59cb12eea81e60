"""The versions of one dataset: which there are, which is published, and how that changes.

`CURRENT` moves by one conditional write, whose generation is read before anything is decided. So of two that publish
at once one loses cleanly. `prune` first marks what it is about to remove and then renews `CURRENT` on the same
condition: whoever decided to publish a version before it was marked loses too, and whoever decides later sees the
mark. `CURRENT` therefore never names a version that is going away.
"""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import MANIFEST, Manifest, parse_manifest
from imagemill.storage import open_store
from imagemill.storage.store import ABSENT, MissingObject, ObjectInfo, PreconditionFailed, Store
from imagemill.version_folder import (
    FINGERPRINT_DIGITS,
    RETIRED,
    VERSION_PATTERN,
    VERSIONS,
    VersionFolder,
    VersionInfo,
    created_at,
    is_version_id,
    new_version_id,
    object_key,
)

__all__ = [
    "CURRENT",
    "Catalog",
    "CurrentVersion",
    "Pruning",
    "Publication",
    "VersionInfo",
    "current",
    "new_version_id",
    "read_manifest",
]

CURRENT = "CURRENT"
"""The pointer object that names the published version."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pointer(_Frozen):
    """The content of `CURRENT`."""

    version: str = Field(pattern=f"^{VERSION_PATTERN}$")
    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$")


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


class Pruning(_Frozen):
    """What `prune` removed, or would remove."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    bytes: int = Field(description="bytes of what was removed")
    dry_run: bool


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

    def version_uri(self, version: str) -> str:
        return f"{self.uri}/{VERSIONS}{version}"

    def versions(self) -> list[VersionInfo]:
        """Returns every version folder, newest first; a damaged one is described, not an exception."""
        published = self._published_id()
        return [folder.describe(current=folder.version == published) for folder in self._folders()]

    def current(self) -> CurrentVersion | None:
        """Returns the published version, or None where nothing was ever published.

        Raises:
            UnusableData: CURRENT is unreadable, or names a version that is gone or whose manifest has changed.
        """
        try:
            pointer = self._parse_pointer(self._store.read(CURRENT))
        except MissingObject:
            return None
        uri = self.version_uri(pointer.version)
        try:
            manifest = self._store.read(object_key(pointer.version, MANIFEST))
        except MissingObject as error:
            raise UnusableData(
                f"{self.uri}/{CURRENT} names {pointer.version}, but {uri}/{MANIFEST} is gone; "
                "roll back to another version, or publish a new one"
            ) from error
        digest = hashlib.sha256(manifest).hexdigest()
        if digest != pointer.manifest_sha256:
            raise UnusableData(
                f"{uri}/{MANIFEST} is not the one that was published (sha256 {digest[:12]}…, published "
                f"{pointer.manifest_sha256[:12]}…): somebody changed the version; roll back to another one, "
                "or validate and publish it again"
            )
        return CurrentVersion(version=pointer.version, uri=uri, manifest_sha256=digest)

    def find(self, fingerprint: str) -> VersionInfo | None:
        """Returns the version or candidate that was planned with this fingerprint, to reuse or resume it.

        Complete ones come before unfinished ones, newer before older.
        """
        published = self._published_id()
        ending = f"-{fingerprint[:FINGERPRINT_DIGITS]}"
        found = [
            folder.describe(current=folder.version == published)
            for folder in self._folders()
            if folder.version.endswith(ending) and not folder.retired
        ]
        same = [info for info in found if info.fingerprint == fingerprint]
        return max(same, key=lambda info: (info.complete, info.version), default=None)

    def publish(self, version: str) -> Publication:
        """Makes `version` the published one; publishing the published version again changes nothing.

        Raises:
            CallerError: There is no such version.
            PreconditionFailed: Somebody else moved CURRENT meanwhile.
            UnusableData: It is unfinished, limited, damaged, not validated, or failed its validation.
        """
        generation = self._generation()
        previous = self._pointer()
        pointer = self._admit(version)
        if pointer != previous:
            self._move(pointer, generation)
        return Publication(
            version=version,
            uri=self.version_uri(version),
            previous=previous.version if previous else None,
            moved=pointer != previous,
        )

    def rollback(self, version: str | None = None) -> Publication:
        """Makes an older version the published one: the given one, or the newest intact one before the current.

        Raises:
            CallerError: There is no such version, or none to go back to.
            PreconditionFailed: Somebody else moved CURRENT meanwhile.
            UnusableData: The given version may not be published.
        """
        return self.publish(version or self._before_current())

    def prune(self, *, keep: int, dry_run: bool = False) -> Pruning:
        """Removes old versions.

        The published version stays, and everything newer than it (candidates under way, or left for inspection), and
        the newest `keep` versions that may be published. Where nothing is published, nothing is removed.

        Raises:
            CallerError: `keep` is below 1.
            PreconditionFailed: Somebody else moved CURRENT meanwhile; nothing was removed.
        """
        if keep < 1:
            raise CallerError(f"keep is {keep}; keep at least 1 version")
        generation = self._generation()
        pointer = self._pointer()
        folders = self._folders()
        doomed = _doomed(folders, pointer.version, keep=keep) if pointer else []
        if pointer and doomed and not dry_run:
            self._retire(doomed, pointer, generation)
            for folder in doomed:
                self._remove(folder)
        return Pruning(
            removed=tuple(folder.version for folder in doomed),
            kept=tuple(folder.version for folder in folders if folder not in doomed),
            bytes=sum(folder.total_bytes for folder in doomed),
            dry_run=dry_run,
        )

    def _generation(self) -> str:
        info = self._store.stat(CURRENT)
        return ABSENT if info is None or info.generation is None else info.generation

    def _parse_pointer(self, data: bytes) -> Pointer:
        try:
            return Pointer.model_validate_json(data)
        except ValidationError as error:
            raise UnusableData(
                f"{self.uri}/{CURRENT} is not a readable pointer ({data[:60]!r}); "
                "roll back to an intact version, or publish a new one"
            ) from error

    def _pointer(self) -> Pointer | None:
        """Returns what CURRENT says; None also where that is unreadable, so that publishing repairs it."""
        try:
            return self._parse_pointer(self._store.read(CURRENT))
        except (MissingObject, UnusableData):
            return None

    def _published_id(self) -> str | None:
        pointer = self._pointer()
        return pointer.version if pointer else None

    def _move(self, pointer: Pointer, generation: str) -> None:
        try:
            self._store.write(CURRENT, pointer.model_dump_json().encode() + b"\n", if_generation=generation)
        except PreconditionFailed as error:
            raise PreconditionFailed(
                f"{self.uri}/{CURRENT} was moved by somebody else meanwhile (it names {self._published_id()} now); "
                "look at the versions, and repeat if that is still what you want"
            ) from error

    def _admit(self, version: str) -> Pointer:
        created_at(version)  # refuses what is no version id before it becomes part of a key
        objects = list(self._store.list(object_key(version, "")))
        if not objects:
            known = ", ".join(folder.version for folder in self._folders()[:5]) or "none"
            raise CallerError(f"{self.uri} has no version {version}; the newest are: {known}")
        folder = VersionFolder(self._store, version, objects)
        if folder.obstacle:
            raise UnusableData(f"{folder.uri} cannot be published: {folder.obstacle}")
        return Pointer(version=version, manifest_sha256=folder.manifest_sha256)

    def _before_current(self) -> str:
        published = self._published_id()
        for folder in self._folders():
            if (published is None or folder.version < published) and not folder.obstacle:
                return folder.version
        raise CallerError(
            f"{self.uri} has no intact version before {published or 'the newest'}; name one, or publish a new version"
        )

    def _retire(self, doomed: list[VersionFolder], pointer: Pointer, generation: str) -> None:
        for folder in doomed:
            self._store.write(object_key(folder.version, RETIRED), b"{}\n")
        try:
            self._move(pointer, generation)
        except PreconditionFailed:
            for folder in doomed:
                self._store.delete(object_key(folder.version, RETIRED))
            raise

    def _remove(self, folder: VersionFolder) -> None:
        """Deletes a folder: the manifest first and the mark last, so that a half-deleted version is no version."""
        self._store.delete(object_key(folder.version, MANIFEST))
        for name in sorted(folder.sizes.keys() - {MANIFEST, RETIRED}):
            self._store.delete(object_key(folder.version, name))
        self._store.delete(object_key(folder.version, RETIRED))

    def _folders(self) -> list[VersionFolder]:
        """Returns the version folders, newest first; what else lies under `versions/` is not imagemill's."""
        grouped: dict[str, list[ObjectInfo]] = {}
        for info in self._store.list(VERSIONS):
            version, slash, _ = info.key.removeprefix(VERSIONS).partition("/")
            if slash and is_version_id(version):
                grouped.setdefault(version, []).append(info)
        return [VersionFolder(self._store, version, grouped[version]) for version in sorted(grouped, reverse=True)]


def _doomed(folders: list[VersionFolder], published: str, *, keep: int) -> list[VersionFolder]:
    publishable = [folder.version for folder in folders if not folder.obstacle]
    spared = {published, *publishable[:keep]}
    return [folder for folder in folders if folder.version < published and folder.version not in spared]


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
