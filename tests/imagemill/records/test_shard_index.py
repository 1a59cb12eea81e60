import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.errors import CallerError, UnusableData
from imagemill.records import shard_index
from imagemill.records.shard_index import IndexEntry, ShardIndex, ShardIndexBuilder
from imagemill.records.sharding import key_hash


def entry(key, number=0):
    return IndexEntry(key, number % 7, number * 100, 50 + number, number * 3, bytes([number % 256]) * 32)


def built(entries, hashed=key_hash):
    builder = ShardIndexBuilder()
    for one in sorted(entries, key=lambda one: (hashed(one.key), one.key)):
        builder.add(one, hashed=hashed(one.key))
    return builder.to_bytes()


keys = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), unique=True, max_size=60)


@given(keys)
def test_gives_back_what_was_put_in(keys):
    entries = [entry(key, number) for number, key in enumerate(keys)]
    index = ShardIndex(built(entries), where="i")
    assert len(index) == len(keys)
    assert sorted(index) == sorted(entries)
    for one in entries:
        assert index[index.find(one.key)] == one
    assert index.find("\0 not there") is None


def test_positions_of_a_label():
    index = ShardIndex(built([entry(f"k{number}", number) for number in range(100)]), where="i")
    for label in range(8):
        assert index.positions(label) == [position for position in range(100) if index[position].label == label]


def test_keys_whose_hashes_collide_are_told_apart(monkeypatch):
    monkeypatch.setattr(shard_index, "key_hash", lambda key: 5)  # 64 bits collide in no test that runs for real
    index = ShardIndex(built([entry(key) for key in "abc"], hashed=lambda key: 5), where="i")
    assert [index.find(key) for key in "abcd"] == [0, 1, 2, None]


def test_the_layout_is_the_documented_one():
    data = built([IndexEntry("é", -2, 1 << 40, 9, 0xDEADBEEF, b"s" * 32)])
    header = b"IMINDEX\x01" + struct.pack("<QQ", 1, 2)
    row = struct.pack("<QQQIiI", key_hash("é"), 1 << 40, 2, 9, -2, 0xDEADBEEF)
    assert data == header + row + b"s" * 32 + "é".encode()


def test_numpy_wraps_a_column_without_a_copy():
    index = ShardIndex(built([entry(key, number) for number, key in enumerate("abcdef")]), where="i")
    assert sorted(np.frombuffer(index.labels, dtype="<i4").tolist()) == list(range(6))


def test_opening_costs_the_same_however_many_rows():
    data = built([entry(f"k{number}", number) for number in range(20_000)])
    tracemalloc.start()
    index = ShardIndex(data, where="i")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(index) == 20_000
    assert peak < 20_000, "less than a byte a row: no column is copied"


@pytest.mark.parametrize("position", [-1, 1])
def test_a_position_outside_is_an_error(position):
    with pytest.raises(IndexError, match="the shard has 1"):
        ShardIndex(built([entry("a")]), where="i")[position]


def test_no_cut_passes():
    data = built([entry("a"), entry("b", 1)])
    for length in range(len(data)):
        with pytest.raises(UnusableData, match="some-index: "):
            ShardIndex(data[:length], where="some-index")


def test_another_file_is_named_so():
    with pytest.raises(UnusableData, match="i: not a shard index"):
        ShardIndex(b"PAR1" * 20, where="i")


def test_a_newer_version_asks_for_an_upgrade():
    with pytest.raises(CallerError, match="version 2 is newer"):
        ShardIndex(built([]).replace(b"IMINDEX\x01", b"IMINDEX\x02"), where="i")
