"""Which records a sample holds, and what it can know. Drawn from the manifest alone: no record is read to choose."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from imagemill.manifest import ShardEntry

DEFECT_SHARE = 0.005
"""Share of defective records for which the report states the chance of seeing one."""

Stratum = TypeVar("Stratum")
Draw = dict[str, dict[int, list[int]]]
"""Shard name -> label id -> sorted ordinals among that shard's records of that label."""


def draw(shards: Sequence[ShardEntry], *, size: int, seed: int) -> Draw:
    """Draws a stratified sample: each split and label in proportion, and each at least once where `size` allows it.

    Args:
        shards: The shards that may be drawn from.
        size: Records wanted; all of them where there are no more.
        seed: The same seed draws the same records.
    """
    strata: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
    for shard in shards:
        for label, count in shard.labels.items():
            if count > 0:
                strata[shard.split, label].append((shard.name, count))
    wanted = allocate({key: sum(count for _, count in parts) for key, parts in strata.items()}, size)
    drawn: Draw = {}
    for (split, label), parts in sorted(strata.items()):
        ends = list(accumulate(count for _, count in parts))
        # The seed names the stratum too: a new label does not change what is drawn of the others.
        generator = random.Random(f"{seed}/{split}/{label}")  # noqa: S311 - a sample, not a secret
        for position in sorted(generator.sample(range(ends[-1]), wanted.get((split, label), 0))):
            part = bisect_right(ends, position)
            start = ends[part - 1] if part else 0
            drawn.setdefault(parts[part][0], {}).setdefault(label, []).append(position - start)
    return drawn


def allocate(counts: Mapping[Stratum, int], size: int) -> dict[Stratum, int]:
    """Returns how many of each stratum to draw: in proportion by largest remainder, at least one of each that fits.

    Where there are more strata than `size`, the largest get one each.
    """
    population = sum(counts.values())
    size = min(size, population)
    by_size = sorted((key for key in counts if counts[key]), key=lambda key: counts[key], reverse=True)
    chosen = dict.fromkeys(by_size[:size], 1)
    spare = size - len(chosen)
    if spare == 0:
        return chosen
    left = {key: counts[key] - 1 for key in chosen}
    quotas = {key: spare * left[key] / sum(left.values()) for key in chosen}
    for key in chosen:
        chosen[key] += math.floor(quotas[key])
    by_remainder = sorted(chosen, key=lambda key: quotas[key] - math.floor(quotas[key]), reverse=True)
    for key in by_remainder[: size - sum(chosen.values())]:
        chosen[key] += 1
    return chosen


def confidence(*, population: int, sample: int, share: float = DEFECT_SHARE) -> float:
    """Returns the chance that a sample without replacement holds at least one of the defective records.

    Args:
        population: Records in all.
        sample: Records drawn.
        share: Share of them that is defective; at least one record is.
    """
    if population == 0:
        return 0.0
    defects = max(1, math.ceil(population * share))
    if sample + defects > population:
        return 1.0
    sound = population - defects
    missed = (
        math.lgamma(sound + 1)
        - math.lgamma(sound - sample + 1)
        - math.lgamma(population + 1)
        + math.lgamma(population - sample + 1)
    )
    return 1 - math.exp(missed)
