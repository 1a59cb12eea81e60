from __future__ import annotations

import os
import random
import tracemalloc

import pytest

from imagemill.accounting import CONTENT_MODULUS
from imagemill.conversion.planning import plan_conversion
from imagemill.errors import CallerError, UnusableData
from imagemill.external_sort import sorted_lines
from imagemill.manifest import FileEntry, Manifest, ShardEntry
from imagemill.plan import PLAN, parse_plan
from imagemill.records.digest import row_digest
from imagemill.records.sharding import key_hash, shard_of
from imagemill.rows import Reason, Rejected, Row
from imagemill.spec import Shards
from imagemill.storage import open_store
from tests.support.conversions import SETTINGS, Inputs, mixture


@pytest.fixture
def inputs(tmp_path):
    return Inputs(tmp_path / "input")


def published(*, labels=(), shards=()):
    """Returns a manifest with the given labels and shard counts by split."""
    index = FileEntry(name="i", bytes=0, crc32c="00000000")
    return Manifest(
        dataset="mixture",
        fingerprint="0",
        labels=list(labels),
        accounts=[],
        reject_reasons={},
        files=[],
        shards=[
            ShardEntry(
                name=f"{split}{number}", bytes=0, crc32c="00000000", split=split, records=0, labels={}, index=index
            )
            for split, count in dict(shards).items()
            for number in range(count)
        ],
    )


def test_the_plan_counts_what_can_become_a_record(tmp_path):
    inputs = mixture(tmp_path)
    plan = inputs.plan(tmp_path / "v")
    assert plan.rows == len(inputs.rows)
    assert plan.labels == ("cat", "dog")
    assert plan.labels_closed
    assert {split.name: split.shards for split in plan.splits} == {"extra": 1, "test": 2, "train": 3}
    # Seven images are refused only when they are opened, or are not there.
    assert sum(split.rows for split in plan.splits) == len(inputs.good) + 7
    assert parse_plan((tmp_path / "v" / PLAN).read_bytes(), where="x") == plan


def test_the_digest_is_the_sum_over_rows_and_images(inputs):
    inputs.add("a.png", b"A" * 30)
    inputs.add("large.png", b"B" * 20_001)
    inputs.rows += [b"gone.png,cat", b"a.png,cat", b"bad"]
    inputs.write_index()
    crc32c = open_store(str(inputs.root / "images")).stat("a.png", checksum=True).crc32c
    parts = [
        row_digest(Row("a.png", "cat"), size=30, crc32c=crc32c),
        row_digest(Row("a.png", "cat")),
        row_digest(Row("large.png", "cat"), size=20_001),
        row_digest(Row("gone.png", "cat")),
        row_digest(Rejected("", "bad", Reason.BAD_ROW, "")),
    ]
    plan = inputs.plan(inputs.root / "v")
    assert plan.content_digest == f"{sum(parts) % CONTENT_MODULUS:032x}"


def test_the_fingerprint_follows_what_determines_the_bytes_and_nothing_else(tmp_path):
    def plan(**changes):
        return inputs.plan(tmp_path / "v", **changes)

    inputs = mixture(tmp_path / "here")
    first = plan()
    inputs.write_index(shuffle=3)
    assert plan().fingerprint == first.fingerprint
    assert mixture(tmp_path / "elsewhere").plan(tmp_path / "w").fingerprint == first.fingerprint
    swapped = SETTINGS.model_copy(update={"split_fractions": dict(reversed(SETTINGS.split_fractions.items()))})
    others = [
        plan(declared_labels=("cat", "dog", "ant")),
        plan(shards=Shards(count={"train": 4, "test": 2})),
        plan(limit=10),
        plan(settings=SETTINGS.model_copy(update={"verification": "decode"})),
        plan(settings=swapped),
    ]
    (inputs.root / "images" / "cow.png").write_bytes(b"of no consequence")
    assert plan().fingerprint == first.fingerprint, "a rejected row's image decides nothing"
    (inputs.root / "images" / "n/1.png").write_bytes(b"other")
    others.append(plan())
    inputs.rows.append(b"one column more")
    inputs.write_index()
    others.append(plan())
    assert len({other.fingerprint for other in [first, *others]}) == len(others) + 1


def test_labels_and_shard_counts_are_carried_on(inputs):
    for number in range(1000):
        inputs.add(f"{number}.png", b"x", f"{'ant' if number % 2 else 'dog'},train")
    inputs.write_index()
    before = published(labels=["dog", "eel"], shards={"train": 3})
    shards = Shards(target_records=250)
    assert inputs.plan(inputs.root / "v", declared_labels=(), shards=shards).splits[0].shards == 4
    plan = inputs.plan(inputs.root / "v", declared_labels=(), shards=shards, published=before)
    assert plan.splits[0].shards == 3
    assert plan.labels == ("dog", "eel", "ant")
    assert not plan.labels_closed


@pytest.mark.parametrize(("images", "count"), [(12, 1), (400, 16)])
def test_a_count_that_would_leave_a_shard_empty_gives_way_to_the_targets(inputs, images, count):
    for number in range(images):
        inputs.add(f"{number}.png", b"x", "cat,train")
    inputs.write_index()
    plan = inputs.plan(inputs.root / "v", shards=Shards(count={"train": 16}))
    assert plan.splits[0].shards == count


def test_what_will_not_be_read_fills_no_shard(inputs):
    names = [f"{number}.png" for number in range(100)]
    for name in names:
        too_large = shard_of(key_hash(name), 4) == 3
        inputs.add(name, bytes(SETTINGS.max_image_bytes + too_large), "cat,train")
    inputs.write_index()
    assert inputs.plan(inputs.root / "v", shards=Shards(count={"train": 4})).splits[0].shards == 1
    assert inputs.plan(inputs.root / "v", shards=Shards(count={"train": 3})).splits[0].shards == 3


def test_a_sample_is_one_shard_since_others_would_be_empty(inputs):
    for number in range(600):
        inputs.add(f"{number}.png", b"x", "cat,train")
    inputs.write_index()
    for shards in (Shards(count={"train": 2}), Shards(target_records=100)):
        assert inputs.plan(inputs.root / "v", shards=shards).splits[0].shards > 1
        assert inputs.plan(inputs.root / "v", shards=shards, limit=300).splits[0].shards == 1


def test_the_sources_labels_fix_the_ids(inputs):
    inputs.add("a.png", b"x", "1")
    inputs.write_index()
    labels = inputs.root / "labels.txt"
    plan = inputs.plan(inputs.root / "v", declared_labels=(), labels_uri=str(labels))
    assert plan.labels == ("0", "1"), "there is no such file, so the rows decide"
    labels.write_text("plane\ncar\n")
    plan = inputs.plan(inputs.root / "v", declared_labels=(), labels_uri=str(labels))
    assert (plan.labels, plan.labels_closed) == (("plane", "car"), True)


@pytest.mark.parametrize("limit", [1, 7, 49])
def test_the_limit_is_a_bound_on_the_key_hash(inputs, limit):
    for number in range(50):
        inputs.add(f"{number}.png", b"x")
    inputs.rows += inputs.rows[:25]
    inputs.write_index()
    plan = inputs.plan(inputs.root / "v", limit=limit)
    smallest = sorted(key_hash(f"{number}.png") for number in range(50))
    assert plan.sample_below == smallest[limit - 1] + 1
    assert sum(split.rows for split in plan.splits) == limit


def test_a_limit_above_the_rows_is_none(inputs):
    inputs.add("a.png", b"x")
    inputs.write_index()
    plan = inputs.plan(inputs.root / "v", limit=1)
    assert plan.sample_below is None
    assert plan.fingerprint == inputs.plan(inputs.root / "v").fingerprint


@pytest.mark.parametrize(
    ("rows", "changes", "error", "message"),
    [
        pytest.param([], {}, CallerError, "has no rows", id="an empty index"),
        pytest.param(
            [b"a.png,cow", b"x"],
            {},
            UnusableData,
            "none of the 2 rows .*: 1 bad_row, 1 unknown_label",
            id="no good row",
        ),
        pytest.param(
            [b"no/a.png,cat"], {}, CallerError, "the first is 'no/a.png'.*check where the images are", id="no image"
        ),
        pytest.param([b"a.png,cat"], {"limit": 0}, CallerError, "a limit of 0 rows", id="no limit"),
        pytest.param(
            [b"a.png,cat"],
            {"shards": Shards(count={"val": 3})},
            CallerError,
            "'val', which is not one of: train, test, extra",
            id="shards of an unknown split",
        ),
    ],
)
def test_what_can_only_fail_is_refused(inputs, rows, changes, error, message):
    inputs.add("a.png", b"x")
    inputs.rows = rows
    inputs.write_index()
    with pytest.raises(error, match=message):
        inputs.plan(inputs.root / "v", **changes)


def test_a_missing_index(tmp_path):
    with pytest.raises(CallerError, match=r"index\.csv: there is no such index; prepare and upload"):
        plan_conversion(
            dataset="x",
            index_uri=str(tmp_path / "index.csv"),
            images_uri=str(tmp_path),
            settings=SETTINGS,
            shards=Shards(),
        )


def test_names_sort_as_the_listing_does(inputs):
    names = ["a/b.png", "a.png", "a b.png", "a-b.png", "ä.png", "a/z/1.png", "Z.png", "\U0001f600.png", "\uffee.png"]
    for name in random.Random(0).sample(names, len(names)):
        inputs.add(name, b"x" * 100)
    inputs.write_index()
    plan = inputs.plan(inputs.root / "v")
    assert sum(split.bytes for split in plan.splits) == 100 * len(names)


def test_an_image_behind_a_linked_folder_is_what_the_job_will_read(inputs, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.png").write_bytes(b"x" * 70)
    inputs.add("a.png", b"x" * 30)
    (inputs.root / "images" / "link").symlink_to(tmp_path / "elsewhere")
    inputs.rows += [b"link/b.png,cat"]
    inputs.write_index()
    assert sum(split.bytes for split in inputs.plan(inputs.root / "v").splits) == 100


def test_a_stray_file_whose_name_is_no_text(inputs):
    inputs.add("z.png", b"x" * 30)
    os.close(os.open(os.fsencode(inputs.root / "images") + b"/\xff.png", os.O_CREAT))
    os.close(os.open(os.fsencode(inputs.root / "images") + b"/a\xff.png", os.O_CREAT))
    inputs.write_index()
    assert sum(split.bytes for split in inputs.plan(inputs.root / "v").splits) == 30


def test_memory_does_not_grow_with_the_rows(inputs, monkeypatch):
    def peak(rows):
        inputs.rows = [b"a.png,cat", *(f"n/{number:09d}.png,dog".encode() for number in range(rows))]
        inputs.write_index()
        tracemalloc.start()
        plan = inputs.plan(inputs.root / "v")
        try:
            assert plan.rows == rows + 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    inputs.add("a.png", b"x")
    monkeypatch.setitem(sorted_lines.__kwdefaults__, "chunk", 5_000)
    monkeypatch.setattr("imagemill.conversion.blocks.READ_BYTES", 1 << 16)
    assert peak(45_000) < peak(15_000) * 1.2
