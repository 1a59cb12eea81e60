from __future__ import annotations

import json
from collections import Counter

import pytest

from imagemill.accounting import CONTENT_MODULUS, Tally, add_tallies
from imagemill.errors import UnusableData
from imagemill.manifest import MANIFEST, FileEntry, ShardEntry, parse_manifest
from imagemill.plan import ConversionPlan, ConversionSettings, SplitPlan
from imagemill.rows import Reason, Rejected
from imagemill.version.facts import ImageStatistics, SharingFacts
from imagemill.version.files import entry_of, reject_line, version_files

PLAN = ConversionPlan(
    dataset="pets",
    fingerprint="f00d",
    content_digest=f"{7:032x}",
    index="/in/index.csv",
    index_bytes=1,
    images="/in/images",
    labels=("cät", "dog"),
    rows=5,
    splits=(SplitPlan(name="test", rows=1, bytes=9, shards=1), SplitPlan(name="train", rows=4, bytes=9, shards=2)),
    settings=ConversionSettings(split_fractions={"train": 0.5, "test": 0.5}),
)
REJECTS = entry_of("rejects.jsonl", b"")


def shard(split, number, shards, labels):
    index = FileEntry(name=f"{split}.index-{number}", bytes=1, crc32c="00000000")
    name = f"pets-{split}.tfrecord-{number:05d}-of-{shards:05d}"
    records = sum(labels.values())
    return ShardEntry(
        name=name, bytes=100 + number, crc32c="00000000", split=split, records=records, labels=labels, index=index
    )


SHARDS = [shard("train", 1, 2, {0: 1, 1: 2}), shard("test", 0, 1, {}), shard("train", 0, 2, {1: 1})]


def files(plan=PLAN, **changes):
    arguments = {
        "shards": SHARDS,
        "rejects": REJECTS,
        "tally": Tally(content=7),
        "images": ImageStatistics(channels={1: 4}, records=4),
        "sharing": SharingFacts(),
    }
    return version_files(plan=plan, **{**arguments, **changes})


def test_the_manifest_is_last_and_names_every_file():
    made = files()
    assert list(made)[-1] == MANIFEST
    manifest = parse_manifest(made[MANIFEST], where="x")
    assert [entry.name for entry in manifest.files] == sorted({*made, "rejects.jsonl"} - {MANIFEST})
    assert all(entry == entry_of(entry.name, made[entry.name]) for entry in manifest.files if entry.name in made)
    assert [entry.name for entry in manifest.shards] == sorted(entry.name for entry in SHARDS)


def test_the_order_of_the_parts_does_not_matter():
    assert files(shards=SHARDS[::-1]) == files()


def test_tfds_learns_the_shards_in_order():
    test, train = json.loads(files()["dataset_info.json"])["splits"]
    assert (test["name"], test["shardLengths"], test["numBytes"]) == ("test", ["0"], "100")
    assert (train["name"], train["shardLengths"], train["numBytes"]) == ("train", ["1", "3"], "201")


@pytest.mark.parametrize(
    ("channels", "expected"),
    [({1: 4}, "1"), ({3: 4}, "3"), ({4: 4}, "4"), ({1: 2, 3: 2}, "3"), ({2: 4}, "3"), ({}, "3")],
)
def test_channels_are_the_images_own_where_they_agree(channels, expected):
    features = json.loads(files(images=ImageStatistics(channels=channels))["features.json"])
    image = features["featuresDict"]["features"]["image"]["featuresDict"]["features"]
    assert image["encoded"]["image"]["shape"]["dimensions"] == ["-1", "-1", expected]


def test_facts_count_labels_by_split_those_without_records_too():
    facts = json.loads(files()["facts.json"])
    assert facts["labels"] == {"test": {"cät": 0, "dog": 0}, "train": {"cät": 1, "dog": 3}}


def test_other_content_than_planned():
    with pytest.raises(UnusableData, match="changed between planning and conversion: 2 rows read, 5 planned"):
        files(tally=Tally(content=8, rows=Counter({("train", "dog"): 2})))


@pytest.mark.parametrize(
    "shards",
    [
        pytest.param(SHARDS[1:], id="one is missing"),
        pytest.param([*SHARDS, SHARDS[0]], id="one comes twice"),
        pytest.param([SHARDS[0], SHARDS[0], SHARDS[1]], id="one stands for another"),
        pytest.param([*SHARDS, shard("val", 0, 1, {})], id="one was not planned"),
    ],
)
def test_other_shards_than_planned(shards):
    with pytest.raises(UnusableData, match="pets: shards by split are"):
        files(shards=shards)


def test_tallies_add_up():
    one, other = Tally(content=CONTENT_MODULUS - 1), Tally(content=3)
    for tally, times in ((one, 2), (other, 1)):
        for _ in range(times):
            tally.rows["train", "cat"] += 1
            tally.add_reject(Rejected("k", "k,cat", Reason.MISSING, "gone", split="train", label="cat"))
    other.rows["test", "cat"] += 1
    other.records["test", "cat"] += 1
    total = add_tallies([one, other])
    assert total.content == 2
    assert total.reasons == {Reason.MISSING: 3}
    assert [(account.split, account.rows, account.rejected, account.balanced) for account in total.accounts()] == [
        ("test", 1, 0, True),
        ("train", 3, 3, True),
    ]


@pytest.mark.parametrize("row", ["plain,cat", 'ü "q",dog', "\udcff\udc80,cat", "a\u2028b,c", "\ttab\\"])
def test_a_reject_line_keeps_every_byte_of_the_row(row):
    rejected = Rejected("", row, Reason.BAD_ROW, "why")
    line = reject_line(rejected)
    assert line.count(b"\n") == 1
    assert json.loads(line.decode()) == {
        "key": "",
        "row": row,
        "reason": "bad_row",
        "detail": "why",
        "split": "(unassigned)",
        "label": "(unassigned)",
    }
