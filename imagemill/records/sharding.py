"""Which split and shard a row belongs to, how many shards a split has, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from imagemill.limits import MAX_SHARDS

HASH_SPACE = 1 << 64
"""Key hashes are in `range(HASH_SPACE)`."""

MIN_RECORDS = 64
"""Records expected in a shard at least: by hash, one of them is then empty with a probability of e**-64."""

# Copies of these cost half of new ones.
_SHARD_HASH = blake2b(digest_size=8, person=b"imagemill.shard")
_SPLIT_HASH = blake2b(digest_size=8, person=b"imagemill.split")


def key_hash(key: str) -> int:
    """Returns the 64-bit hash that orders records and spreads them over shards; part of the format."""
    hashing = _SHARD_HASH.copy()
    hashing.update(key.encode())
    return int.from_bytes(hashing.digest(), "big")


def split_of(*, key: str, group: str, fractions: Mapping[str, float]) -> str:
    """Returns the split of a row that names none.

    The hash is independent of `key_hash`, and a row's split depends on nothing but its own group or key and the
    fractions: other rows come and go without moving it.

    Args:
        key: The row's key.
        group: What must stay in one split; takes the key's place where it is not empty.
        fractions: Shares by split; their order is that of the hash ranges. They sum to 1.

    Raises:
        ValueError: There is no split with a share.
    """
    hashing = _SPLIT_HASH.copy()
    hashing.update((group or key).encode())
    point = int.from_bytes(hashing.digest(), "big")
    bound, chosen = 0.0, None
    for split, fraction in fractions.items():
        if fraction > 0:
            bound, chosen = bound + fraction, split
            if point < bound * HASH_SPACE:
                return split
    if chosen is None:
        raise ValueError(f"no split has a share: {dict(fractions)}")
    return chosen


def shard_of(hashed: int, shards: int) -> int:
    """Returns the shard of a key hash: equal ranges, so that shard i of n covers shards 2i and 2i + 1 of 2n."""
    return hashed * shards >> 64


def shard_name(*, dataset: str, split: str, shard: int, shards: int, compression: str = "") -> str:
    """Returns a shard's file name, in TFDS's template; `.gz` marks compressed ones, which TFDS does not open."""
    return f"{dataset}-{split}.tfrecord-{shard:05d}-of-{shards:05d}{'.gz' if compression == 'gzip' else ''}"


def index_name(*, dataset: str, split: str, shard: int, shards: int) -> str:
    """Returns the file name of a shard's index."""
    return f"{dataset}-{split}.index-{shard:05d}-of-{shards:05d}"


def index_beside(shard: str) -> str:
    """Returns the file name of the index of the shard that is called so."""
    return shard.removesuffix(".gz").replace(".tfrecord-", ".index-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPolicy:
    """What shard counts aim at.

    Attributes:
        target_bytes: Preferred bytes of one shard.
        target_records: Preferred records of one shard, so that small images still spread over the workers.
    """

    target_bytes: int = 128 << 20
    target_records: int = 10_000

    def __post_init__(self) -> None:
        if self.target_bytes <= 0 or self.target_records <= 0:
            raise ValueError(f"targets must be positive: {self}")

    def shards_for(self, *, total_bytes: int, records: int, previous: int | None = None) -> int:
        """Returns how many shards a split becomes.

        Args:
            total_bytes: The split's image bytes.
            records: Its rows.
            previous: The count of the version before; kept as long as the split's size has not drifted by 2x from any
                size that would have led to it, and no shard would run empty.
        """
        wanted = max(total_bytes / self.target_bytes, records / self.target_records)
        ceiling = max(1, min(records // MIN_RECORDS, MAX_SHARDS))
        if previous is not None and previous <= ceiling and (previous - 1) / 2 <= wanted <= previous * 2:
            return previous
        return max(1, min(math.ceil(wanted), ceiling))
