from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.limits import MAX_SHARDS
from imagemill.records.sharding import (
    HASH_SPACE,
    MIN_RECORDS,
    ShardPolicy,
    index_name,
    key_hash,
    shard_name,
    shard_of,
    split_of,
)
from imagemill.spec import Shards

MIB = 1 << 20
KEYS = [f"images/{n:06d}.png" for n in range(60_000)]
FRACTIONS = {"train": 0.8, "validation": 0.15, "test": 0.05}


def test_the_hash_is_part_of_the_format():
    assert key_hash("a/b.png") == 0x61B24B4AC362C271
    assert split_of(key="a/b.png", group="", fractions={"one": 0.5, "two": 0.5}) == "two"


def test_key_hash_takes_any_name():
    assert 0 <= key_hash("猫/🐈 #%?.png") < HASH_SPACE


@given(st.integers(0, HASH_SPACE - 1), st.integers(1, 5000))
def test_shards_are_ranges_that_nest(hashed, shards):
    shard = shard_of(hashed, shards)
    assert 0 <= shard < shards
    assert shard_of(hashed, 2 * shards) // 2 == shard


def test_shards_are_even():
    counts = Counter(shard_of(key_hash(key), 16) for key in KEYS)
    assert len(counts) == 16
    assert max(counts.values()) < 1.1 * len(KEYS) / 16


def test_splits_meet_their_fractions_within_half_a_percent():
    counts = Counter(split_of(key=key, group="", fractions=FRACTIONS) for key in KEYS)
    for split, fraction in FRACTIONS.items():
        assert abs(counts[split] / len(KEYS) - fraction) < 0.005


def test_a_group_stays_together():
    assert len({split_of(key=key, group="patient 7", fractions=FRACTIONS) for key in KEYS[:1000]}) == 1


def test_groups_spread_as_keys_do():
    counts = Counter(split_of(key="same.png", group=key, fractions=FRACTIONS) for key in KEYS)
    assert abs(counts["train"] / len(KEYS) - 0.8) < 0.005


def test_splits_are_independent_of_shards():
    train = [key for key in KEYS if split_of(key=key, group="", fractions=FRACTIONS) == "train"]
    counts = Counter(shard_of(key_hash(key), 16) for key in train)
    assert min(counts.values()) > 0.9 * len(train) / 16


def test_a_larger_share_only_adds_to_the_first_split():
    for key in KEYS[:2000]:
        if split_of(key=key, group="", fractions={"train": 0.8, "test": 0.2}) == "train":
            assert split_of(key=key, group="", fractions={"train": 0.9, "test": 0.1}) == "train"


def test_a_split_without_a_share_gets_no_row():
    fractions = {"none": 0.0, "all": 1.0, "neither": 0.0}
    assert {split_of(key=key, group="", fractions=fractions) for key in KEYS[:2000]} == {"all"}


def test_rounding_leaves_no_row_behind():
    fractions = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3 - 1e-9}  # sums to less than one
    highest = max(KEYS, key=lambda key: blake2b(key.encode(), digest_size=8, person=b"imagemill.split").digest())
    assert split_of(key=highest, group="", fractions=fractions) == "c"


@pytest.mark.parametrize("fractions", [{}, {"train": 0.0}])
def test_no_share_at_all_is_an_error(fractions):
    with pytest.raises(ValueError, match="no split has a share"):
        split_of(key="a", group="", fractions=fractions)


@pytest.mark.parametrize(
    ("total_bytes", "records", "expected"),
    [
        pytest.param(0, 0, 1, id="an empty split still gets one file"),
        pytest.param(1, 1, 1, id="a tiny split too"),
        pytest.param(256 * MIB, 1_000, 2, id="an exact multiple adds no shard"),
        pytest.param(256 * MIB + 1, 1_000, 3, id="one byte over rounds up"),
        pytest.param(140 * MIB, 60_000, 6, id="tiny images spread by their number"),
        pytest.param(1 << 40, 640, 10, id="huge images never leave a shard empty"),
        pytest.param(1 << 60, 1 << 40, 99_999, id="as many as a name can count"),
    ],
)
def test_shards_for(total_bytes, records, expected):
    assert ShardPolicy().shards_for(total_bytes=total_bytes, records=records) == expected


def test_targets_are_honoured():
    assert ShardPolicy(target_bytes=100).shards_for(total_bytes=500, records=1000) == 5
    assert ShardPolicy(target_records=100).shards_for(total_bytes=500, records=1000) == 10


@pytest.mark.parametrize("targets", [{"target_bytes": 0}, {"target_records": -1}])
def test_targets_are_positive(targets):
    with pytest.raises(ValueError, match="must be positive"):
        ShardPolicy(**targets)


@given(st.integers(1_000, 10_000_000), st.floats(0.5001, 1.9999))
def test_counts_are_sticky_below_a_drift_of_two(records, drift):
    policy = ShardPolicy()
    before = policy.shards_for(total_bytes=0, records=records)
    assert policy.shards_for(total_bytes=0, records=int(records * drift), previous=before) == before


@pytest.mark.parametrize(("records", "expected"), [(201_000, 21), (40_000, 4)])
def test_counts_follow_a_larger_drift(records, expected):
    assert ShardPolicy().shards_for(total_bytes=0, records=records, previous=10) == expected


def test_a_sticky_count_gives_way_before_a_shard_runs_empty():
    policy = ShardPolicy(target_bytes=1)
    assert policy.shards_for(total_bytes=100, records=MIN_RECORDS * 90, previous=100) == 90


def test_names():
    assert shard_name(dataset="cifar10", split="train", shard=3, shards=16) == "cifar10-train.tfrecord-00003-of-00016"
    assert shard_name(dataset="c", split="s", shard=0, shards=1, compression="gzip").endswith("-00000-of-00001.gz")
    assert index_name(dataset="cifar10", split="train", shard=3, shards=16) == "cifar10-train.index-00003-of-00016"


def test_names_sort_by_number_as_far_as_a_spec_and_the_form_allow():
    """`RecordReader` finds a key's shard by its place among the names."""
    names = [shard_name(dataset="c", split="s", shard=shard, shards=MAX_SHARDS) for shard in (9, 10, MAX_SHARDS - 1)]
    assert sorted(names) == names
    assert {len(name) for name in names} == {len(names[0])}
    assert Shards(count={"s": MAX_SHARDS}).count == {"s": MAX_SHARDS}
    with pytest.raises(ValueError, match="less than or equal to 99999"):
        Shards(count={"s": MAX_SHARDS + 1})
