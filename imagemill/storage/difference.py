"""What separates two stores: a merge of their sorted listings, by name, size and CRC-32C, in flat memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage.store import ObjectInfo, Store
from imagemill.storage.uri import key_fault

Reason = Literal["new", "size differs", "checksum differs"]


def printable(name: str) -> str:
    """Returns a name for a terminal: what that would obey, or cannot show, is escaped as in Python."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in name
    )


@dataclass(frozen=True, slots=True)
class Copy:
    """An object that the destination lacks, or holds with other bytes.

    Attributes:
        key: Its name.
        size: Bytes.
        reason: Why it is copied.
        crc32c: Checksum in the source, where the listing gave it.
    """

    key: str
    size: int
    reason: Reason
    crc32c: int | None = None

    def __str__(self) -> str:
        return f"copy   {printable(self.key)} ({self.size:,} bytes, {self.reason})"


@dataclass(frozen=True, slots=True)
class Delete:
    """An object that only the destination has."""

    key: str
    size: int

    def __str__(self) -> str:
        return f"delete {printable(self.key)} ({self.size:,} bytes)"


Action = Copy | Delete

Pair = tuple[ObjectInfo | None, ObjectInfo | None]
"""One key in the source and in the destination; never both None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which keys a sync looks at, on both sides; what it does not look at is neither copied nor deleted.

    Attributes:
        exclude: Globs of names to leave alone. `*` and `?` stay within a segment, `**` does not. A glob without "/" is
            looked for in every segment, one with "/" starts at the root; both cover what lies below a matching folder.
        only: Whole keys, instead of listings; empty for everything.
    """

    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    _excluded: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = "|".join(map(_regular_expression, self.exclude)) or "(?!)"
        object.__setattr__(self, "_excluded", re.compile(pattern, re.DOTALL).search)

    def objects(self, store: Store) -> Iterator[ObjectInfo]:
        """Yields the store's selected objects in key order."""
        found = (store.stat(key) for key in sorted(set(self.only))) if self.only else store.list()
        for info in found:
            if info is not None and not self._excluded(info.key):
                yield info


def pairs(source: Store, destination: Store, selection: Selection, *, delete: bool = False) -> Iterator[Pair]:
    """Yields every selected key of either store, in order.

    Raises:
        CallerError: The source has a name that no store can hold, or nothing at all where that means to delete.
    """
    left, right = _in_order(source, selection), _in_order(destination, selection)
    ours = next(left, None)
    if ours is None and delete:
        raise CallerError(
            f"{source.uri} holds no object: mirroring it would delete all of {destination.uri}; "
            "check the spelling, or delete the destination yourself"
        )
    theirs = next(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.key < theirs.key):
            yield _transferable(ours, source), None
            ours = next(left, None)
        elif ours is None or theirs.key < ours.key:
            yield None, theirs
            theirs = next(right, None)
        else:
            yield _transferable(ours, source), theirs
            ours, theirs = next(left, None), next(right, None)


def decide(source: Store, destination: Store, pair: Pair) -> Action | None:
    """Returns what would make one key equal on both sides, or None where it is.

    Checksums are computed only here, and only for objects of one size: a first upload reads each file once.

    Raises:
        TemporaryFault: The source's object vanished since it was listed.
    """
    match pair:
        case None, ObjectInfo(key=key, size=size):
            return Delete(key, size)
        case ObjectInfo() as ours, theirs:
            reason = _reason(source, destination, ours, theirs)
            return None if reason is None else Copy(ours.key, ours.size, reason, ours.crc32c)
    raise ValueError("a pair holds at least one object")


def _reason(source: Store, destination: Store, ours: ObjectInfo, theirs: ObjectInfo | None) -> Reason | None:
    if theirs is None:
        destination.require_within(ours.key)
        return "new"
    if ours.size != theirs.size:
        return "size differs"
    expected = _checksum(source, ours)
    if expected is None:
        raise vanished(source, ours.key)
    return None if expected == _checksum(destination, theirs) else "checksum differs"


def vanished(source: Store, key: str) -> TemporaryFault:
    """Returns the error for an object that was listed and is gone."""
    return TemporaryFault(f"{source.uri}/{key} vanished while it was synced; run it again when the source rests")


def _checksum(store: Store, info: ObjectInfo) -> int | None:
    if info.crc32c is not None:
        return info.crc32c
    found = store.stat(info.key, checksum=True)
    return None if found is None else found.crc32c


def _in_order(store: Store, selection: Selection) -> Iterator[ObjectInfo]:
    previous = ""
    for info in selection.objects(store):
        if info.key <= previous:
            # Merging an unsorted listing would delete what both sides have.
            raise RuntimeError(f"{store.uri}: the listing is not sorted: {info.key!r} follows {previous!r}")
        previous = info.key
        yield info


def _transferable(info: ObjectInfo | None, source: Store) -> ObjectInfo | None:
    if info is not None and (fault := key_fault(info.key)) is not None:
        raise CallerError(f"{source.uri}: the object name {info.key!r} {fault}; rename it or exclude it")
    return info


_GLOB = re.compile(r"\*\*|\*|\?|[^*?]+")
_WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def _regular_expression(glob: str) -> str:
    body = "".join(_WILD.get(part) or re.escape(part) for part in _GLOB.findall(glob.strip("/")))
    if not body:
        raise CallerError(f"cannot exclude {glob!r}; give a name or a glob such as '*.tmp' or 'drafts/**'")
    start = "^" if "/" in glob.rstrip("/") else "(?:^|/)"
    return f"{start}{body}(?:/|$)"
