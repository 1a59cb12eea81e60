"""How far a conversion is, from what the job has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts so far. A row of the index becomes a record, a reject or a duplicate.

    Attributes:
        bytes: Of the records, as written.
        shards: Written ones.
        of_shards: Planned ones.
        of_rows: Rows of the index.
    """

    rows: int = 0
    records: int = 0
    rejected: int = 0
    duplicates: int = 0
    bytes: int = 0
    shards: int = 0
    of_shards: int = 0
    of_rows: int = 0

    @classmethod
    def of(cls, plan: Mapping[str, Any], counters: Mapping[str, int]) -> Self:
        """Returns the progress of a plan, in the words that `plan_conversion` uses, from the job's counters."""
        return cls(
            rows=counters.get("rows", 0),
            records=counters.get("records", 0),
            rejected=sum(count for name, count in counters.items() if name.startswith("rejected_")),
            duplicates=counters.get("duplicates", 0),
            bytes=counters.get("record_bytes", 0),
            shards=counters.get("shards", 0),
            of_shards=sum(plan["shards"].values()),
            of_rows=plan["rows"],
        )

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.shards:,} of {self.of_shards:,} shards, {self.records:,} records ({size_text(self.bytes)}), "
            f"{self.rejected:,} rejects, {self.duplicates:,} duplicates; {self.rows:,} of {self.of_rows:,} rows read"
        )


def size_text(count: int) -> str:
    """Returns a number of bytes as people say it."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{count} bytes"
