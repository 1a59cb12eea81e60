import hashlib
import random

import pytest

from imagemill.conversion.digest_batches import KeyDigest, find_shared_images, pack_digests
from imagemill.version.facts import (
    MAX_EXAMPLES,
    Extent,
    ImageStatistics,
    RecordDigest,
    SharingFacts,
    add_sharing,
    add_statistics,
    find_sharing,
)


def digest(content):
    return hashlib.sha256(content.encode()).digest()


RECORDS = [
    RecordDigest(digest("alone"), "a", "train", "cat"),
    RecordDigest(digest("twice"), "b", "train", "cat"),
    RecordDigest(digest("twice"), "c", "train", "cat"),
    RecordDigest(digest("two labels"), "d", "train", "cat"),
    RecordDigest(digest("two labels"), "e", "train", "dog"),
    RecordDigest(digest("two splits"), "f", "train", "cat"),
    RecordDigest(digest("two splits"), "g", "train", "cat"),
    RecordDigest(digest("two splits"), "h", "test", "cat"),
]


def counts(facts):
    return [(part.groups, part.records) for part in (facts.identical, facts.label_conflicts, facts.split_leaks)]


def test_shared_images_are_counted_by_what_differs():
    facts = find_sharing(RECORDS)
    assert counts(facts) == [(3, 7), (1, 2), (1, 3)]
    (conflict,) = facts.label_conflicts.examples
    assert conflict.sha256 == hashlib.sha256(b"two labels").hexdigest()
    assert [(record.key, record.label) for record in conflict.records] == [("d", "cat"), ("e", "dog")]


def test_the_order_of_records_does_not_matter():
    shuffled = RECORDS[::-1]
    assert find_sharing(shuffled) == find_sharing(RECORDS)


def test_an_example_shows_the_difference():
    many = [RecordDigest(digest("x"), f"k{number}", "train", "cat") for number in range(50)]
    odd = RecordDigest(digest("x"), "z", "test", "dog")
    (example,) = find_sharing([*many, odd]).split_leaks.examples
    assert len(example.records) == 5
    assert {record.split for record in example.records} == {"train", "test"}


@pytest.mark.parametrize("ranges", [1, 7])
def test_ranges_add_up_to_the_whole(ranges):
    rng = random.Random(4)
    contents = [str(rng.randrange(60)) for _ in range(150)]
    labels = ("cat", "dog")
    shards = {
        name: [
            KeyDigest(digest(content), rng.randrange(2), f"{name}{number}") for number, content in enumerate(contents)
        ]
        for name in ("train", "test")
    }
    whole = find_sharing(
        RecordDigest(record.sha256, record.key, split, labels[record.label_id])
        for split, records in shards.items()
        for record in records
    )
    batches = {}
    for split, records in shards.items():
        for half in (records[::2], records[1::2]):
            for number, packed in pack_digests(half, split=split, ranges=ranges).items():
                batches.setdefault(number, []).append(packed)
    assert len(batches) == ranges
    parts = [find_shared_images(batches[number], labels=labels) for number in rng.sample(sorted(batches), ranges)]
    assert add_sharing(parts) == whole
    assert whole.identical.groups > MAX_EXAMPLES == len(whole.identical.examples)


def test_nothing_shared():
    packed = pack_digests([KeyDigest(digest(key), 0, key) for key in "abc"], split="train", ranges=1)
    assert find_shared_images(packed.values(), labels=("cat",)) == SharingFacts()


def test_statistics_add_up():
    part = ImageStatistics(
        records=2,
        bytes=Extent.of([10, 30]),
        height=Extent.of([5, 5]),
        width=Extent.of([1, 9]),
        formats={"png": 2},
        channels={3: 2},
    )
    other = ImageStatistics(
        records=1,
        bytes=Extent.of([20]),
        height=Extent.of([4]),
        width=Extent.of([4]),
        formats={"jpeg": 1},
        channels={1: 1},
        orientations={6: 1},
    )
    total = add_statistics([part, ImageStatistics(), other])
    assert total == add_statistics([other, part])
    assert (total.records, total.bytes, total.height) == (
        3,
        Extent(min=10, max=30, sum=60),
        Extent(min=4, max=5, sum=14),
    )
    assert total.formats == {"jpeg": 1, "png": 2}
    assert list(total.channels) == [1, 3]
    assert total.orientations == {6: 1}
    assert add_statistics([]) == ImageStatistics()
