"""What was published when, by whom and why: a log of small objects that are written once.

Every move of `CURRENT` writes its entry first and then names it in the pointer. An entry names the one before it, as a
commit names its parent. So the log is what `CURRENT` leads to: an entry whose move was lost to a faster one, or to a
kill, is in the folder and not in the history, and no move is without its entry.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from imagemill.storage.store import MissingObject, Store

HISTORY = "history/"

ENTRY_PATTERN = r"^(|\d{8}T\d{6}Z-[0-9a-f]{12})$"
"""Names of entries, and the name that stands for none."""

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"

Move = Literal["publish", "rollback"]


class HistoryEntry(BaseModel):
    """One move of `CURRENT`, as `history/<time>-<digest>.json` has it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: Move
    version: str
    previous: str | None = Field(description="version that was published before; None where none or unreadable")
    at: AwareDatetime
    by: str = Field(description="who did it")
    reason: str = Field("", description="why, in their words")
    run: str = Field("", description="the refresh that did it; empty where a person did it by hand")
    overridden: tuple[str, ...] = Field((), description="failed checks that were overridden by force")
    parent: str = Field("", pattern=ENTRY_PATTERN, description="name of the entry before this one; empty for the first")


def write_entry(store: Store, entry: HistoryEntry) -> str:
    """Writes an entry and returns its name, which `CURRENT` shall lead to."""
    data = entry.model_dump_json(indent=1).encode() + b"\n"
    name = f"{entry.at.astimezone(UTC).strftime(_TIME_FORMAT)}-{hashlib.sha256(data).hexdigest()[:12]}"
    store.write(entry_key(name), data)
    return name


def entry_key(name: str) -> str:
    return f"{HISTORY}{name}.json"


def read_history(store: Store, newest: str) -> Iterator[HistoryEntry]:
    """Yields the entries from `newest` back; an entry that cannot be read ends the history that can be told."""
    seen: set[str] = set()
    while newest and newest not in seen:
        seen.add(newest)
        try:
            entry = HistoryEntry.model_validate_json(store.read(entry_key(newest)))
        except (MissingObject, ValidationError):
            return
        yield entry
        newest = entry.parent


def way_back(entries: Sequence[HistoryEntry]) -> list[str]:
    """Returns the versions that a rollback after a rollback would go through, the first one first.

    Publishing lays a version on those before it; rolling back takes off what lies above. So what was rolled back is
    not gone back to, and data that went from A to B and to A again goes back by B.

    Args:
        entries: The history, newest first.
    """
    laid: list[str] = []
    for entry in reversed(entries):
        if entry.action == "rollback" and entry.version in laid:
            while laid[-1] != entry.version:
                laid.pop()
        else:
            laid.append(entry.version)
    return laid[::-1]


def newest_in_folder(store: Store) -> str:
    """Returns the newest entry of the folder: where the history goes on when `CURRENT` cannot be read any more."""
    names = (info.key.removeprefix(HISTORY).removesuffix(".json") for info in store.list(HISTORY))
    return max((name for name in names if re.match(ENTRY_PATTERN, name)), default="")
