"""Make one store mirror another: copy what differs, verified; interrupted, it goes on by being run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from imagemill.errors import CallerError
from imagemill.progress import Progress, Silent
from imagemill.storage.difference import Action, Copy, Delete, Pair, Selection, decide, pairs
from imagemill.storage.faults import ObstructedKey
from imagemill.storage.parallel import Crew
from imagemill.storage.spool import NameSpool
from imagemill.storage.store import Store
from imagemill.storage.transfer import transfer
from imagemill.storage.uri import parse


class SyncSummary(BaseModel):
    """What a sync did, or would do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copied: int = 0
    copied_bytes: int = 0
    unchanged: int = 0
    deleted: int = 0

    def __add__(self, other: SyncSummary) -> SyncSummary:
        return SyncSummary(
            copied=self.copied + other.copied,
            copied_bytes=self.copied_bytes + other.copied_bytes,
            unchanged=self.unchanged + other.unchanged,
            deleted=self.deleted + other.deleted,
        )


def plan(
    source: Store,
    destination: Store,
    *,
    delete: bool = False,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    threads: int | None = None,
) -> Iterator[Action]:
    """Yields, in key order, what `sync` with these arguments would do; `difference.Selection` explains two of them.

    Raises:
        CallerError: As `sync`.
    """
    selection = Selection(exclude=tuple(exclude), only=tuple(only))
    _refuse_hazards(source, destination)

    def examine(batch: list[Pair]) -> list[Action | None]:
        return [decide(source, destination, pair) for pair in batch]

    crew = Crew(source, destination, threads=threads)
    for actions in crew.spread(examine, crew.batches(pairs(source, destination, selection, delete=delete))):
        yield from (action for action in actions if isinstance(action, Copy) or (delete and action is not None))


def sync(
    source: Store,
    destination: Store,
    *,
    delete: bool = False,
    dry_run: bool = False,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    progress: Progress | None = None,
    threads: int | None = None,
    tell: Callable[[Action], object] | None = None,
) -> SyncSummary:
    """Makes `destination` hold what `source` holds. Each object appears there whole or not at all.

    Args:
        source: Where objects come from.
        destination: Where they go.
        delete: Remove what only the destination has, after every copy succeeded.
        dry_run: Count what would be done and do nothing.
        exclude: Globs of keys to leave alone on both sides, as `difference.Selection` explains them.
        only: Keys to look at instead of everything.
        progress: Told of each object.
        threads: Transfers at once; by default what the stores say pays.
        tell: Called with each action, in the order of keys, when it is done, or would have been.

    Raises:
        CallerError: One place lies within the other, the source is missing, is empty while `delete` is set, or has a
            name that no store can hold; or the destination cannot be written.
        TemporaryFault: An object did not rest or was not stored as sent; running it again continues.
    """
    selection = Selection(exclude=tuple(exclude), only=tuple(only))
    _refuse_hazards(source, destination)
    run = _Run(
        source,
        destination,
        delete=delete,
        dry_run=dry_run,
        progress=progress or Silent(),
        threads=threads,
        tell=tell or (lambda action: None),
    )
    return run.mirror(selection)


class _Settled(NamedTuple):
    """What became of one batch."""

    summary: SyncSummary
    actions: list[Action]
    extra: list[str]
    obstructed: list[ObstructedKey]


class _Run:
    def __init__(
        self,
        source: Store,
        destination: Store,
        *,
        delete: bool,
        dry_run: bool,
        progress: Progress,
        threads: int | None,
        tell: Callable[[Action], object],
    ) -> None:
        self._tell = tell
        self._source = source
        self._destination = destination
        self._delete = delete
        self._dry_run = dry_run
        self._progress = progress
        self._crew = Crew(source, destination, threads=threads)

    def mirror(self, selection: Selection) -> SyncSummary:
        summary, obstructed = self._pass(selection)
        if obstructed and self._delete:
            # In a folder, `x` had to wait until the deletions had cleared `x/y` away, or the other way round.
            again, obstructed = self._pass(selection)
            summary += again.model_copy(update={"unchanged": 0})
        if obstructed:
            raise obstructed[0]
        return summary

    def _pass(self, selection: Selection) -> tuple[SyncSummary, list[ObstructedKey]]:
        summary, obstructed = SyncSummary(), list[ObstructedKey]()
        self._progress.begin(f"sync to {self._destination.uri}", total=None, unit="objects")
        try:
            with NameSpool() as extra:
                found = pairs(self._source, self._destination, selection, delete=self._delete)
                batches = self._crew.batches(found)
                for settled in self._crew.spread(self._settle, batches):
                    summary += settled.summary
                    obstructed = obstructed or settled.obstructed
                    extra.add(settled.extra)
                    for action in settled.actions:
                        self._tell(action)
                    done = settled.summary
                    self._progress.advance(done.copied + done.unchanged, volume=done.copied_bytes)
                for deleted in self._crew.spread(self._remove, self._crew.batches(extra)):
                    summary += SyncSummary(deleted=deleted)
                    self._progress.advance(deleted)
        finally:
            self._progress.end()
        return summary, obstructed

    def _settle(self, batch: list[Pair]) -> _Settled:
        copied_bytes = unchanged = 0
        actions, extra, obstructed = list[Action](), list[str](), list[ObstructedKey]()
        for pair in batch:
            match decide(self._source, self._destination, pair):
                case None:
                    unchanged += 1
                case Delete(key=key) as action if self._delete:
                    extra.append(key)
                    actions.append(action)
                case Copy() as action:
                    try:
                        copied_bytes += action.size if self._dry_run else self._transfer(action)
                        actions.append(action)
                    except ObstructedKey as error:
                        obstructed.append(error)
        copied = len(actions) - len(extra)
        summary = SyncSummary(copied=copied, copied_bytes=copied_bytes, unchanged=unchanged)
        return _Settled(summary, actions, extra, obstructed)

    def _transfer(self, copy: Copy) -> int:
        return transfer(self._source, self._destination, copy)

    def _remove(self, keys: list[str]) -> int:
        if not self._dry_run:
            for key in keys:
                self._destination.delete(key)
        return len(keys)


def _refuse_hazards(source: Store, destination: Store) -> None:
    here, there = parse(source.uri), parse(destination.uri)
    if here.contains(there) or there.contains(here):
        relation = "are one place" if here.contains(there) and there.contains(here) else "lie one within the other"
        raise CallerError(f"{source.uri} and {destination.uri} {relation}; give two places apart")
    source.require_root()
    destination.require_target()
