"""How a plan's rows spread over buckets and shards.

Rows of one key meet in one bucket, a range of key hashes; shards are ranges of key hashes too, so that batches in the
order of their buckets are in the order of a shard's records.
"""

from __future__ import annotations

from typing import NamedTuple

from imagemill.conversion.resolution import PlacedRow
from imagemill.errors import UnusableData
from imagemill.plan import ConversionPlan
from imagemill.records.sharding import shard_of

ROWS_PER_BUCKET = 100_000
"""Rows that one worker holds at once, about 50 MB of them."""


class ShardPlace(NamedTuple):
    """Shard `shard` of the `shards` of a split."""

    split: str
    shard: int
    shards: int


class Layout:
    """Buckets and shards of a plan. Shards of all splits are numbered in one row.

    Attributes:
        buckets: How many ranges of key hashes there are; as many ranges of digests and of rejects.
        shards: Every planned shard.
    """

    def __init__(self, plan: ConversionPlan) -> None:
        self.buckets = max(1, -(-plan.rows // ROWS_PER_BUCKET))
        self._index = plan.index
        self.shards = [
            ShardPlace(split.name, shard, split.shards) for split in plan.splits for shard in range(split.shards)
        ]
        numbers = {name: number for number, name in enumerate(plan.settings.splits)}
        self._first: dict[int, tuple[int, int]] = {}
        for number, place in enumerate(self.shards):
            self._first.setdefault(numbers[place.split], (number, place.shards))

    def bucket(self, hashed: int) -> int:
        return shard_of(hashed, self.buckets)

    def shard(self, row: PlacedRow) -> int:
        """Returns the number of the shard a row's record belongs to.

        Raises:
            UnusableData: The plan knows of no row in the row's split: the index has changed since.
        """
        if row.split_number not in self._first:
            raise UnusableData(
                f"{self._index} changed between planning and conversion: {row.filename!r} is in a split that was "
                "empty; run the refresh again"
            )
        first, shards = self._first[row.split_number]
        return first + shard_of(row.hashed, shards)
