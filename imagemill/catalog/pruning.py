"""Which versions go, and how: first a mark, after a time of grace the objects.

A mark is never taken back, so that it means the same to everybody: nobody publishes a marked version. What makes that
certain is that a version's objects are only deleted after `CURRENT` was renewed, on the condition that it has not moved
since it was seen to name another version. Whoever decided to publish the version before it was marked has moved
`CURRENT` by then, and the renewal fails; or moves it later, and that fails. A reader that resolved `CURRENT` before
keeps the whole version for the time of grace.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from imagemill.catalog.folder import VersionFolder
from imagemill.errors import CallerError
from imagemill.manifest import MANIFEST
from imagemill.spec import Retention
from imagemill.storage.store import MissingObject, Store
from imagemill.version.ids import RETIRED, created_at, object_key

CANDIDATE_AGE = timedelta(days=30)
"""A candidate that is newer than the published version goes at this age at the earliest: before, it may be under way,
wait for a person's approval, or be left to look at."""


class Pruning(BaseModel):
    """What `prune` did, or would do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retired: tuple[str, ...] = Field(description="marked now; removed by a prune after the time of grace")
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    bytes: int = Field(description="bytes of what was removed")
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What stays.

    Attributes:
        keep: Versions published last.
        min_age: No version younger than this goes.
        grace: Time between the mark and the removal.
    """

    keep: int
    min_age: timedelta = timedelta(0)
    grace: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise CallerError(f"keep is {self.keep}; keep at least 1 version")

    @classmethod
    def from_spec(cls, retention: Retention) -> Self:
        """Returns the policy that a spec asks for."""
        return cls(
            keep=retention.keep,
            min_age=timedelta(days=retention.min_age_days),
            grace=timedelta(hours=retention.grace_hours),
        )


@dataclass(frozen=True, slots=True)
class PruningPlan:
    """What a prune is going to do.

    Attributes:
        folders: All version folders, newest first.
        retiring: The ones to mark.
        due: The ones to remove; those that have no mark get one first.
    """

    folders: Sequence[VersionFolder]
    retiring: Sequence[VersionFolder]
    due: Sequence[VersionFolder]

    def carry_out(self, store: Store, *, renew: Callable[[], None], now: datetime) -> None:
        """Marks and removes.

        Args:
            store: The dataset's output folder.
            renew: Writes `CURRENT` anew if it has not moved since the plan was made, and raises if it has.
            now: The time of the marks.
        """
        late = [folder for folder in self.folders if folder.current and folder.marked]
        # The published version may have a mark that came too late: once it is superseded, its grace begins anew.
        for folder in [*self.retiring, *late, *(folder for folder in self.due if not folder.marked)]:
            _mark(store, folder.version, now=now)
        if self.due:
            renew()
        for folder in self.due:
            _remove(store, folder)

    def summary(self, *, dry_run: bool) -> Pruning:
        gone = {folder.version for folder in self.due}
        return Pruning(
            retired=tuple(folder.version for folder in self.retiring),
            removed=tuple(folder.version for folder in self.folders if folder.version in gone),
            kept=tuple(folder.version for folder in self.folders if folder.version not in gone),
            bytes=sum(folder.total_bytes for folder in self.due),
            dry_run=dry_run,
        )


def plan_pruning(
    store: Store, folders: Sequence[VersionFolder], published: Iterable[str], *, policy: RetentionPolicy, now: datetime
) -> PruningPlan:
    """Decides what goes.

    Args:
        store: The dataset's output folder.
        folders: Its version folders, newest first.
        published: Versions that were ever published, the current one first, then the one before it, and so on; none
            where nothing is published, and then nothing goes.
        policy: What stays. What is newer than the current version stays too, but for candidates of `CANDIDATE_AGE`
            that were never published.
        now: The time.
    """
    published = iter(published)
    spared = list(_kept(folders, published, policy.keep))
    if not spared:
        return PruningPlan(folders, [], [])
    due = [folder for folder in folders if folder.retired and _is_due(store, folder, grace=policy.grace, now=now)]
    aged = [
        folder
        for folder in folders
        if folder.version not in spared
        and not folder.retired
        and now - created_at(folder.version) >= _age_to_go(folder, policy, current=spared[0])
    ]
    # Only candidates need the whole history read: most datasets have none.
    once = set(published) if any(folder.version > spared[0] for folder in aged) else set()
    retiring = [folder for folder in aged if folder.version not in once or folder.version < spared[0]]
    if policy.grace <= timedelta(0):
        return PruningPlan(folders, [], [*due, *retiring])
    return PruningPlan(folders, retiring, due)


def _kept(folders: Sequence[VersionFolder], published: Iterable[str], keep: int) -> Iterator[str]:
    """Yields the current version and the last of those before it that are still there; reads no more of the history."""
    there = {folder.version for folder in folders if folder.complete}
    seen: set[str] = set()
    for version in published:
        if version not in seen and (version in there or not seen):
            seen.add(version)
            yield version
        if len(seen) == keep:
            return


def _age_to_go(folder: VersionFolder, policy: RetentionPolicy, *, current: str) -> timedelta:
    return policy.min_age if folder.version < current else max(policy.min_age, CANDIDATE_AGE)


def _is_due(store: Store, folder: VersionFolder, *, grace: timedelta, now: datetime) -> bool:
    """Returns whether a marked version's time of grace is over; a mark that cannot be read is an old one."""
    try:
        at = datetime.fromisoformat(json.loads(store.read(object_key(folder.version, RETIRED)))["at"])
        return now - at >= grace
    except MissingObject:  # somebody else has just finished removing it
        return False
    except (ValueError, TypeError, KeyError, RecursionError):
        return True


def _mark(store: Store, version: str, *, now: datetime) -> None:
    """Marks a version as going; marking it again begins its time of grace anew."""
    store.write(object_key(version, RETIRED), json.dumps({"at": now.isoformat()}).encode() + b"\n")


def _remove(store: Store, folder: VersionFolder) -> None:
    """Deletes a folder: the manifest first and the mark last, so that a half-deleted version is no version."""
    store.delete(object_key(folder.version, MANIFEST))
    for name in sorted(folder.sizes.keys() - {MANIFEST, RETIRED}):
        store.delete(object_key(folder.version, name))
    store.delete(object_key(folder.version, RETIRED))
