from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.manifest import FileEntry, ShardEntry
from imagemill.quality.sampling import allocate, confidence, draw


def shard_entry(name, split, labels):
    file = {"bytes": 1, "crc32c": "00000000"}
    index = FileEntry(name=f"{name}.index", **file)
    return ShardEntry(name=name, split=split, records=sum(labels.values()), labels=labels, index=index, **file)


SHARDS = [
    shard_entry("a", "train", {0: 50, 1: 1}),
    shard_entry("b", "train", {0: 50}),
    shard_entry("c", "test", {0: 10, 1: 9, 2: 0}),
]


def size_of(drawn):
    return sum(len(ordinals) for labels in drawn.values() for ordinals in labels.values())


def test_every_split_and_label_is_drawn_from_in_proportion():
    drawn = draw(SHARDS, size=24, seed=0)
    train = len(drawn["a"][0]) + len(drawn["b"][0])
    assert (train, len(drawn["a"][1]), len(drawn["c"][0]), len(drawn["c"][1])) == (18, 1, 3, 2)


def test_ordinals_are_distinct_sorted_and_within_their_shard():
    drawn = draw(SHARDS, size=1_000, seed=3)
    assert drawn == {
        "a": {0: list(range(50)), 1: [0]},
        "b": {0: list(range(50))},
        "c": {0: list(range(10)), 1: list(range(9))},
    }


def test_the_seed_decides_and_other_strata_do_not():
    assert draw(SHARDS, size=30, seed=1) == draw(SHARDS, size=30, seed=1)
    assert draw(SHARDS, size=30, seed=1) != draw(SHARDS, size=30, seed=2)


def test_nothing_is_drawn_from_nothing():
    assert draw([], size=5, seed=0) == {}


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 400), max_size=12), st.integers(1, 500))
def test_allocation_is_whole_fair_and_never_more_than_there_is(counts, size):
    given_out = allocate(counts, size)
    population, strata = sum(counts.values()), sum(1 for count in counts.values() if count)
    assert sum(given_out.values()) == min(size, population)
    assert all(1 <= given_out[key] <= counts[key] for key in given_out)
    assert len(given_out) == min(strata, size)


@pytest.mark.parametrize(
    ("population", "sample"), [(60_000, 1_000), (100, 10), (3, 1), (1_000, 0), (250, 249), (200, 200)]
)
def test_confidence_is_the_hypergeometric_chance(population, sample):
    defects = max(1, -(-population * 5 // 1_000))
    missed = comb(population - defects, sample) / comb(population, sample)
    assert confidence(population=population, sample=sample) == pytest.approx(1 - missed, abs=1e-9)


def test_confidence_in_the_words_of_the_report():
    assert f"{confidence(population=60_000, sample=1_000):.1%}" == "99.4%"
    assert confidence(population=0, sample=0) == 0
