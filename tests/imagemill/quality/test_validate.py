"""Every check sees the defect it is for, and no other check does."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagemill.catalog import Catalog
from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import MANIFEST
from imagemill.plan import PLAN, ConversionSettings
from imagemill.quality.page import render
from imagemill.quality.report import REPORT, REPORT_PAGE, Severity, Verdict, parse_report, raise_if_failed
from imagemill.quality.validate import validate_version, write_report
from imagemill.rows import Row
from imagemill.spec import Validation
from tests.support import tampering
from tests.support.tampering import (
    edit_index,
    edit_manifest,
    edit_records,
    flip_bit,
    index_of,
    manifest_of,
    offsets,
    payload_position,
    replace_object,
    reseal,
    shard,
)
from tests.support.versions import BuiltVersion, build_version, picture, stage

LABELS = ["cat", "dog", "<script>alert(1)</script>"]
BROKEN = "cat/13.png"
VERSION = "20260101T000000Z-abababab"
BUDGET = Validation(max_rejected=0.05)


def toy_rows(labels=LABELS):
    return [
        Row(f"{['cat', 'dog', 'odd'][n % 3]}/{n}.{'jpg' if n % 5 == 4 else 'png'}", labels[n % 3], split)
        for n, split in enumerate(["train", "train", "train", "test"] * 15)
    ]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("pristine")
    rows = [row if row.filename != "dog/13.png" else Row(BROKEN, "cat", "train") for row in toy_rows()]
    stage(root / "images", rows)
    (root / "images" / BROKEN).write_bytes(b"this is no image")
    return build_version(root / VERSION, root / "images", rows, labels=LABELS, shards={"train": 3, "test": 1})


@pytest.fixture
def version(pristine, tmp_path):
    shutil.copytree(pristine.folder, tmp_path / VERSION)
    (tmp_path / "images").symlink_to(pristine.images)
    return BuiltVersion(tmp_path / VERSION, tmp_path / "images")


def own_images(version):
    """Gives the version images of its own, to be changed; the others share the pristine ones."""
    shared = version.images.resolve()
    version.images.unlink()
    shutil.copytree(shared, version.images)


def validate(version, settings=BUDGET, *, against=True, **options):
    images = str(version.images) if against else None
    return validate_version(str(version.folder), settings=settings, images_uri=images, reader="native", **options)


def failed(report) -> set[str]:
    return {check.name for check in report.checks if check.verdict is Verdict.FAILED}


def test_a_clean_version_has_no_finding(version):
    report = validate(version)
    assert failed(report) == set()
    assert report.passed
    raise_if_failed(report)
    assert report.check("whole_shards_read").verdict is Verdict.SKIPPED
    assert (report.sample.records, report.sample.population, report.sample.confidence) == (59, 59, 1)
    assert report.sample.seed == 0xABABABAB  # another version draws another sample
    assert (report.dataset, report.version) == ("toys", VERSION)
    assert report.manifest_sha256 == hashlib.sha256((version.folder / MANIFEST).read_bytes()).hexdigest()
    assert report.total_bytes == sum(
        path.stat().st_size for path in version.folder.iterdir() if path.name not in {MANIFEST, PLAN}
    )
    assert [(group.reason, group.count, group.examples[0].key) for group in report.rejects] == [
        ("not_an_image", 1, BROKEN)
    ]
    assert sum(sum(counts.values()) for counts in report.label_counts.values()) == 59


# -- the mutation table


@dataclass(frozen=True)
class Defect:
    """A seeded defect, the checks that must fail, and where the first of them must say it is."""

    name: str
    seed: object
    caught_by: set[str]
    settings: Validation = BUDGET
    places: dict = field(default_factory=dict)


def missing(name_of):
    return lambda version: (version.folder / name_of(version)).unlink()


def truncate(version, *, sealed, keep):
    name = shard(version, 1)
    data = (version.folder / name).read_bytes()
    (version.folder / name).write_bytes(data[: keep(version, name)])
    if sealed:
        reseal(version, name)
    return {"object": name}


def lose_last_record(version):
    truncate(version, sealed=True, keep=lambda version, name: offsets(version, name)[-1])


def bit_flip(version, *, sealed, record=2):
    name = shard(version, 1)
    flip_bit(version, name, payload_position(version, name, record))
    if sealed:
        reseal(version, name)
    return {"object": name, "offset": offsets_before(version, name, record)}


def offsets_before(version, name, record):
    index = index_of(version, name)
    rows = tampering.ShardIndex((version.folder / index).read_bytes(), where=index)
    return rows[record].offset


def length_flip(version):
    name = shard(version, 1)
    offset = offsets(version, name)[2]
    flip_bit(version, name, offset + 1)
    reseal(version, name)
    return {"object": name, "offset": offset}


def doubled_shard(version):
    first, second = manifest_of(version).shards[1:3]
    shutil.copy(version.folder / first.name, version.folder / second.name)
    shutil.copy(version.folder / first.index.name, version.folder / second.index.name)
    reseal(version, second.name, second.index.name)
    return {"object": second.index.name}


def swapped_shards(version):
    first, second = manifest_of(version).shards[1:3]
    for one, other in ((first.name, second.name), (first.index.name, second.index.name)):
        kept = (version.folder / one).read_bytes()
        (version.folder / one).write_bytes((version.folder / other).read_bytes())
        (version.folder / other).write_bytes(kept)
    reseal(version, first.name, second.name, first.index.name, second.index.name)

    def swap_counts(content):
        one, other = content["shards"][1:3]
        for part in ("records", "labels"):
            one[part], other[part] = other[part], one[part]

    edit_manifest(version, swap_counts)


def record_edit(**changes):
    """Changes features of the third record of a shard; a value of None takes the feature away."""
    return record_edit_all(**{feature: value if callable(value) else [value] for feature, value in changes.items()})


def record_edit_all(**changes):

    def seed(version):
        name = shard(version, 1)

        def edit(records):
            for feature, value in changes.items():
                key = feature.replace("__", "/")
                if value == [None]:
                    del records[2][key]
                else:
                    records[2][key] = [value(records[2])] if callable(value) else value

        edit_records(version, name, edit)
        return {"object": name, "offset": offsets(version, name)[2]}

    return seed


def other_image(version):
    """Stores other pixels under a record, with checksums that agree with each other."""
    name = shard(version, 1)
    image = picture(4_000)
    digest = hashlib.sha256(image).digest()

    def edit(records):
        records[2]["image/encoded"], records[2]["image/key/sha256"] = [image], [digest.hex().encode()]
        records[2]["image/width"] = [8 + 4_000 % 3]

    edit_records(version, name, edit)
    edit_index(version, name, lambda rows: rows.__setitem__(2, rows[2]._replace(sha256=digest)))
    return {"object": name, "offset": offsets(version, name)[2]}


def undecodable(version):
    """An image that staging and record agree on, and nobody can decode."""
    name = shard(version, 1)
    image = b"\x89PNG\r\n\x1a\n" + b"x" * 40
    digest = hashlib.sha256(image).digest()

    def edit(records):
        records[2]["image/encoded"], records[2]["image/key/sha256"] = [image], [digest.hex().encode()]
        (version.images / records[2]["image/filename"][0].decode()).write_bytes(image)

    own_images(version)
    edit_records(version, name, edit)
    edit_index(version, name, lambda rows: rows.__setitem__(2, rows[2]._replace(sha256=digest)))
    return {"object": name, "offset": offsets(version, name)[2]}


def index_edit(edit):
    def seed(version):
        name = shard(version, 1)
        edit_index(version, name, edit)
        return {"object": index_of(version, name)}

    return seed


def swap_index_labels(rows):
    one = 0
    other = next(n for n, row in enumerate(rows) if row.label != rows[one].label)
    rows[one], rows[other] = (
        rows[one]._replace(label=rows[other].label),
        rows[other]._replace(label=rows[one].label),
    )


def stale_index(version):
    """An index whose hashes are not those of its keys."""
    name = shard(version, 1)
    edit_index(
        version,
        name,
        lambda rows: rows.__setitem__(0, rows[0]._replace(key="cat/none")),
        hashed=lambda key: tampering.key_hash(key) if key != "cat/none" else 1 << 62,
    )


def index_of_garbage(version):
    name = index_of(version, shard(version, 1))
    replace_object(version, name, b"IMINDEX\x01 and then nothing of the kind")
    return {"object": name}


def account(**change):
    def seed(version):
        def edit(content):
            line = next(line for line in content["accounts"] if line["label"] == "cat" and line["split"] == "train")
            for field_name, by in change.items():
                line[field_name] += by

        edit_manifest(version, edit)
        return {"object": MANIFEST}

    return seed


def manifest_edit(edit):
    return lambda version: edit_manifest(version, edit)


def moved_between_labels(content):
    cat, dog = (next(line for line in content["accounts"] if line["label"] == label) for label in ("cat", "dog"))
    for line, by in ((cat, 1), (dog, -1)):
        line["records"] += by
        line["rows"] += by


def rejects(change):
    def seed(version):
        replace_object(version, "rejects.jsonl", change((version.folder / "rejects.jsonl").read_bytes()))
        return {"object": "rejects.jsonl"}

    return seed


def other_reason(data):
    line = json.loads(data)
    return json.dumps(line | {"reason": "truncated"}).encode() + b"\n"


def staged(change):
    def seed(version):
        name = shard(version, 1)
        index = index_of(version, name)
        row = tampering.ShardIndex((version.folder / index).read_bytes(), where=index)[2]
        own_images(version)
        change(version.images / row.key)
        return {"object": name, "offset": row.offset, "key": row.key}

    return seed


def lost_plan_rows(version):
    plan = json.loads((version.folder / PLAN).read_bytes())
    plan["rows"] += 1
    (version.folder / PLAN).write_text(json.dumps(plan))


def other_plan(version):
    plan = (version.folder / PLAN).read_text()
    (version.folder / PLAN).write_text(plan.replace("ab" * 32, "cd" * 32))
    return {"object": PLAN}


def foreign(name):
    def seed(version):
        (version.folder / name).write_bytes(b"mine")
        return {"object": name}

    return seed


def foreign_bytes(version):
    (version.folder / os.fsdecode(b"bad\xff.txt")).write_bytes(b"mine")


def broken_key(version):
    """An index with one bit flipped in a key, so that it is no text any more."""
    name = index_of(version, shard(version, 1))
    data = bytearray((version.folder / name).read_bytes())
    data[-1] ^= 0x80
    replace_object(version, name, bytes(data))
    return {"object": name, "detail": "is not UTF-8"}


def middle(version, name):
    return payload_position(version, name, 3)


DEFECTS = [
    Defect("missing shard", missing(lambda v: shard(v, 1)), {"shards_present"}),
    Defect("missing index", missing(lambda v: index_of(v, shard(v, 1))), {"shards_present"}),
    Defect("missing metadata", missing(lambda v: "dataset_info.json"), {"shards_present"}),
    Defect("missing labels", missing(lambda v: "labels.txt"), {"shards_present"}),
    Defect("missing rejects", missing(lambda v: "rejects.jsonl"), {"shards_present", "accounting"}),
    Defect("truncated shard", lambda v: truncate(v, sealed=False, keep=middle), {"shards_present"}),
    Defect("foreign shard", foreign("toys-train.tfrecord-00007-of-00009"), {"shards_present"}),
    Defect("foreign index", foreign("toys-train.index-00007-of-00009"), {"shards_present"}),
    Defect("foreign note", foreign("README.txt"), {"foreign_objects"}),
    Defect(
        "foreign note whose name is no text", foreign_bytes, {"foreign_objects"}, places={"object": "bad\\udcff.txt"}
    ),
    Defect("bit flip in a record", lambda v: bit_flip(v, sealed=False), {"record_framing", "shard_checksums"}),
    Defect(
        "bit flip in metadata, same size",
        lambda v: flip_bit(v, "features.json", 20),
        {"shard_checksums"},
        places={"object": "features.json"},
    ),
    Defect("bit flip in a record, resealed", lambda v: bit_flip(v, sealed=True), {"record_framing"}),
    Defect("bit flip in a record's length", length_flip, {"record_framing"}),
    Defect("shard cut within a record, resealed", lambda v: truncate(v, sealed=True, keep=middle), {"record_framing"}),
    Defect(
        "last record lost, resealed",
        lose_last_record,
        {"record_counts", "shard_index"},
    ),
    Defect("doubled shard", doubled_shard, {"shard_index", "record_counts"}),
    Defect("swapped shards", swapped_shards, {"shard_index"}),
    Defect(
        "wrong record count",
        manifest_edit(lambda m: m["shards"][1].update(records=m["shards"][1]["records"] + 1)),
        {"record_counts"},
    ),
    Defect(
        "label counts moved",
        manifest_edit(
            lambda m: m["shards"][1]["labels"].update(
                {"0": m["shards"][1]["labels"]["0"] + 1, "1": m["shards"][1]["labels"]["1"] - 1}
            )
        ),
        {"record_counts", "accounting", "facts"},
    ),
    Defect("row lost in the books", account(rows=1), {"accounting"}),
    Defect("record counted twice", account(records=1, rows=1), {"accounting"}),
    Defect("reject counted twice", account(rejected=1, rows=1), {"accounting"}),
    Defect("duplicate never booked", account(duplicates=1), {"accounting"}),
    Defect("records booked under another label", manifest_edit(moved_between_labels), {"accounting"}),
    Defect("wrong reason count", manifest_edit(lambda m: m["reject_reasons"].update(empty=1)), {"accounting"}),
    Defect("reject line lost", rejects(lambda data: b""), {"accounting"}),
    Defect("reject line doubled", rejects(lambda data: data * 2), {"accounting"}),
    Defect("reject line of another reason", rejects(other_reason), {"accounting"}),
    Defect("reject line garbled", rejects(lambda data: b"\xff{" + data), {"accounting"}),
    Defect("row lost between plan and job", lost_plan_rows, {"accounting"}),
    Defect("plan missing", missing(lambda v: PLAN), {"plan"}, places={"object": PLAN, "detail": "is missing"}),
    Defect("plan garbled", lambda v: flip_bit(v, PLAN, 0), {"plan"}, places={"object": PLAN}),
    Defect("plan of another version", other_plan, {"plan"}),
    Defect("rejects above the budget", lambda v: None, {"rejected_share"}, settings=Validation(max_rejected=0.01)),
    Defect(
        "rejects of one label above its budget",
        lambda v: None,
        {"rejected_share"},
        settings=Validation(max_rejected=1, max_rejected_per_label=0.04),
    ),
    Defect(
        "too few records of a label",
        lambda v: None,
        {"labels"},
        settings=Validation(max_rejected=1, min_records_per_label=20),
    ),
    Defect(
        "wrong label id", record_edit(image__class__label=lambda r: (r["image/class/label"][0] + 1) % 3), {"labels"}
    ),
    Defect("label id out of range", record_edit(image__class__label=99), {"labels"}),
    Defect("wrong label text", record_edit(image__class__text=b"bird"), {"labels"}),
    Defect("labels.txt renamed a class", lambda v: replace_object(v, "labels.txt", b"cat\ndog\nbird\n"), {"labels"}),
    Defect("labels.txt swapped two classes", lambda v: replace_object(v, "labels.txt", b"dog\ncat\nx\n"), {"labels"}),
    Defect("labels.txt unreadable", lambda v: replace_object(v, "labels.txt", b"\xff"), {"labels"}),
    Defect("undecodable image", undecodable, {"sample_decodes"}),
    Defect("wrong height", record_edit(image__height=9), {"sample_decodes"}),
    Defect("missing feature", record_edit(image__width=None), {"sample_decodes"}),
    *(
        Defect(f"{feature} is {value}", record_edit(**{feature: value}), {"sample_decodes"})
        for feature, value in [
            ("image__width", b"8"),
            ("image__width", b"wide"),
            ("image__width", 2.5),
            ("image__class__label", b"x"),
            ("image__class__label", 1.5),
            ("image__class__text", 4.0),
            ("image__filename", 5),
            ("image__encoded", 7),
            ("image__key__sha256", 4),
            ("image__format", None),
        ]
    ),
    Defect("two values in a feature", record_edit_all(image__height=[8, 8]), {"sample_decodes"}),
    Defect("changed staged image", staged(lambda path: path.write_bytes(picture(5_000))), {"sample_matches_source"}),
    Defect("staged image gone", staged(lambda path: path.unlink()), {"sample_matches_source"}),
    Defect("record of another image", other_image, {"sample_matches_source"}),
    Defect("wrong sha256", record_edit(image__key__sha256=b"0" * 64), {"sample_matches_source"}),
    Defect(
        "wrong sha256 in the index",
        index_edit(lambda rows: rows.__setitem__(2, rows[2]._replace(sha256=bytes(32)))),
        {"sample_matches_source"},
        places={"detail": "its index has the checksum of another image"},
    ),
    Defect("record of another key", record_edit(image__filename=b"cat/none.png"), {"shard_index"}),
    Defect(
        "index row with another length",
        index_edit(lambda rows: rows.__setitem__(2, rows[2]._replace(length=rows[2].length + 1))),
        {"shard_index"},
    ),
    Defect(
        "index row that leads nowhere",
        index_edit(lambda rows: rows.__setitem__(2, rows[2]._replace(offset=rows[2].offset + 1))),
        {"shard_index"},
    ),
    Defect("index row lost", index_edit(lambda rows: rows.pop(2)), {"shard_index", "record_counts"}),
    Defect("index rows out of order", index_edit(lambda rows: rows.reverse()), {"shard_index"}),
    Defect("index labels swapped", index_edit(swap_index_labels), {"labels"}, places={"detail": "its index says"}),
    Defect("index hash that is not its key's", stale_index, {"shard_index"}),
    Defect("index garbled", index_of_garbage, {"shard_index"}),
    Defect("index key that is no text", broken_key, {"shard_index"}),
]


@pytest.mark.parametrize("defect", [pytest.param(defect, id=defect.name) for defect in DEFECTS])
def test_a_defect_is_caught_by_the_check_meant_for_it(version, defect):
    place = defect.seed(version)
    report = validate(version, defect.settings)
    assert failed(report) == defect.caught_by
    assert report.passed == all(report.check(name).severity is Severity.WARNING for name in defect.caught_by)
    for check in report.checks:
        if check.name in defect.caught_by:
            assert check.advice
            assert check.faults >= len(check.places) > 0
    told = [place for name in defect.caught_by for place in report.check(name).places]
    wanted = dict(defect.places or place or {})
    detail = wanted.pop("detail", "")
    assert any(
        all(getattr(place, name) == value for name, value in wanted.items()) and detail in place.detail
        for place in told
    ), told
    assert parse_report(report.to_json(), where="") == report
    assert render(report)


# -- what depends on the shape of the version


def test_a_split_whose_images_are_all_rejected_is_empty(tmp_path):
    rows = stage(tmp_path / "images", toy_rows())
    for row in rows:
        if row.split == "test":
            (tmp_path / "images" / row.filename).write_bytes(b"")
    built = build_version(tmp_path / VERSION, tmp_path / "images", rows, labels=LABELS, shards={"train": 1, "test": 1})
    report = validate(built, Validation(max_rejected=1))
    assert failed(report) == {"empty_split"}
    assert "split test has no record" in str(report.check("empty_split").places[0])


def test_a_dataset_without_rows_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    built = build_version(tmp_path / VERSION, tmp_path / "images", [], labels=["cat"], shards={"train": 1})
    assert failed(validate(built)) == {"empty_split", "labels"}


def test_a_declared_label_needs_records_unless_the_spec_says_otherwise(tmp_path):
    rows = stage(tmp_path / "images", toy_rows())
    labels = [*LABELS, "bird"]
    built = build_version(tmp_path / VERSION, tmp_path / "images", rows, labels=labels, shards={"train": 1, "test": 1})
    report = validate(built)
    assert failed(report) == {"labels"}
    assert "'bird' has 0 records" in str(report.check("labels").places[0])
    assert validate(built, Validation(min_records_per_label=0)).passed


def test_a_rehearsal_on_some_rows_needs_neither_all_splits_nor_all_labels(tmp_path):
    rows = stage(tmp_path / "images", [Row("a.png", "cat", "train")])
    built = build_version(
        tmp_path / VERSION,
        tmp_path / "images",
        rows,
        labels=LABELS,
        shards={"train": 1, "test": 1},
        sample_below=1 << 60,
    )
    report = validate(built)
    assert failed(report) == set()


@pytest.mark.parametrize("full_scan_bytes", [4 << 30, 0], ids=["full scan", "sample only"])
@pytest.mark.parametrize(
    ("damage", "caught_by"),
    [
        pytest.param(lambda data: data, set(), id="clean"),
        pytest.param(lambda data: data[: len(data) // 2], {"record_framing"}, id="cut"),
        pytest.param(lambda data: b"no gzip" + data, {"record_framing"}, id="not gzip"),
        pytest.param(lambda data: data[:-6] + b"\0" + data[-5:], {"record_framing"}, id="wrong gzip checksum"),
    ],
)
def test_compressed_versions(request, tmp_path, damage, caught_by, full_scan_bytes):
    rows = stage(tmp_path / "images", toy_rows())
    settings = ConversionSettings(split_fractions={}, split_names=("train", "test"), compression="gzip")
    built = build_version(
        tmp_path / VERSION,
        tmp_path / "images",
        rows,
        labels=LABELS,
        shards={"train": 2, "test": 1},
        settings=settings,
    )
    name = shard(built, 1)
    replace_object(built, name, damage((built.folder / name).read_bytes()))
    if full_scan_bytes == 0 and "checksum" in request.node.callspec.id:
        caught_by = set()  # it stands at the end, and a sample is read to its last record
    report = validate(built, Validation(full_scan_bytes=full_scan_bytes))
    assert failed(report) == caught_by
    assert {place.object for place in report.check("record_framing").places} == ({name} if caught_by else set())
    if not caught_by:
        assert report.sample.records == 60


# -- bounded cost


def test_above_the_limit_only_the_sample_is_verified(version):
    place = bit_flip(version, sealed=True)
    bounded = Validation(max_rejected=0.05, full_scan_bytes=0)
    report = validate(version, bounded)
    assert failed(report) == {"record_framing"}
    (found,) = report.check("record_framing").places
    assert (found.object, found.offset) == (place["object"], place["offset"])
    assert "58 of 59 sampled records hold" in report.check("record_framing").observed
    assert failed(validate(version, Validation(max_rejected=0.05, full_scan_bytes=0, sample=1), seed=1)) == set()


@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize(
    ("row", "change"),
    [
        pytest.param(2, {"offset": 1 << 63}, id="offset that no file has"),
        pytest.param(-1, {"length": 1 << 31}, id="length beyond the end"),
    ],
)
def test_an_index_that_leads_behind_its_shard_is_seen_without_a_full_scan(tmp_path, row, change, compression):
    rows = stage(tmp_path / "images", toy_rows())
    settings = ConversionSettings(split_fractions={}, split_names=("train",), compression=compression)
    rows = [row._replace(split="train") for row in rows]
    built = build_version(
        tmp_path / VERSION, tmp_path / "images", rows, labels=LABELS, shards={"train": 1}, settings=settings
    )
    edit_index(built, shard(built, 0), lambda rows: rows.__setitem__(row, rows[row]._replace(**change)))
    report = validate(built, Validation(full_scan_bytes=0))
    assert failed(report) == {"shard_index"}
    (place,) = report.check("shard_index").places
    assert (place.object, place.detail) == (
        index_of(built, shard(built, 0)),
        "names a place behind the end of the shard",
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"run": "\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"run": ' + b"[" * 100_000, id="brackets in brackets"),
        pytest.param(b'{"a":' * 400 + b"1" + b"}" * 400, id="objects in objects"),
    ],
)
def test_whatever_stands_in_run_json_and_rejects_the_report_is_written(version, content):
    (version.folder / "run.json").write_bytes(content)
    replace_object(version, "rejects.jsonl", content + b"\n")
    report = validate(version)
    assert failed(report) == {"accounting"}
    write_report(report)
    assert parse_report((version.folder / REPORT).read_bytes(), where="") == report


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda m: m["shards"][1]["labels"].update({"0": -3}), id="negative label count"),
        pytest.param(lambda m: m["shards"][1]["labels"].update({"0": 10**30}), id="label count of 31 digits"),
        pytest.param(lambda m: m["accounts"][0].update(records=10**400, rows=10**400), id="account of 401 digits"),
        pytest.param(lambda m: m.update(fingerprint="not hexadecimal"), id="fingerprint"),
    ],
)
def test_a_manifest_that_no_conversion_writes_is_unusable_not_a_crash(version, edit):
    edit_manifest(version, edit)
    with pytest.raises(UnusableData, match="not a readable manifest"):
        validate(version)


def test_the_seed_decides_the_sample_and_the_report_tells_how_much_it_can_know(version):
    few = Validation(max_rejected=0.05, sample=6)
    reports = [validate(version, few, seed=seed) for seed in (1, 1, 2)]
    assert [report.sample.records for report in reports] == [6, 6, 6]
    assert 0.09 < reports[0].sample.confidence < 0.11  # 6 of 59 records, one of them defective
    assert reports[0].model_copy(update={"seconds": 0}) == reports[1].model_copy(update={"seconds": 0})


def test_without_staged_images_nothing_is_compared_with_them(version):
    report = validate(version, against=False)
    assert report.check("sample_matches_source").verdict is Verdict.SKIPPED
    assert report.passed
    record_edit(image__key__sha256=b"0" * 64)(version)
    assert failed(validate(version, against=False)) == {"sample_matches_source"}


# -- the report


def test_a_failed_report_becomes_an_error_with_finding_and_advice(version):
    bit_flip(version, sealed=True)
    report = validate(version)
    with pytest.raises(UnusableData) as caught:
        raise_if_failed(report)
    message = str(caught.value)
    assert "record_framing" in message
    assert shard(version, 1) in message
    assert "convert again" in message
    assert REPORT_PAGE in message
    assert len(message.splitlines()) <= 4


def test_a_validated_version_is_published_and_a_failed_one_is_not(pristine, tmp_path):
    folder = tmp_path / "toys" / "versions" / VERSION
    shutil.copytree(pristine.folder, folder)
    built = BuiltVersion(folder, pristine.images)
    catalog = Catalog(str(tmp_path / "toys"))
    write_report(validate(built, Validation(max_rejected=0)))
    with pytest.raises(UnusableData, match="rejected_share"):
        catalog.publish(VERSION)
    write_report(validate(built))
    assert catalog.publish(VERSION).moved


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        pytest.param(lambda path: path.unlink(), UnusableData, "run the refresh again", id="missing"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:99]), UnusableData, "not a readable", id="cut"),
        pytest.param(
            lambda path: path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 9')),
            CallerError,
            "upgrade imagemill",
            id="newer",
        ),
    ],
)
def test_a_version_without_a_readable_manifest_is_an_error(version, damage, error, message):
    damage(version.folder / MANIFEST)
    with pytest.raises(error, match=message):
        validate(version)


def test_undecodable_bytes_in_rejects_are_shown(version):
    line = {"key": "", "row": "a\udcff,cat", "reason": "bad_row", "detail": "x\udcff", "split": "s", "label": "\udcff"}
    replace_object(version, "rejects.jsonl", json.dumps(line).encode() + b"\n")
    report = validate(version)
    assert failed(report) == {"accounting"}
    write_report(report)
    assert "\\udcff" in (version.folder / REPORT).read_text()


def test_progress_is_told(version):
    class Watch:
        def __init__(self):
            self.told = []

        def begin(self, what, *, total, unit):
            self.told.append([what, total, 0])

        def advance(self, amount=1):
            self.told[-1][2] += amount

        def end(self):
            pass

    watch = Watch()
    validate(version, progress=watch)
    assert watch.told == [["verify records", 4, 4], ["read the sample back", 59, 59]]


def test_validation_writes_nothing_but_its_report(version):
    before = {path: path.read_bytes() for path in Path(version.folder).iterdir()}
    report = validate(version)
    assert {path: path.read_bytes() for path in Path(version.folder).iterdir()} == before
    write_report(report)
    assert {path.name for path in version.folder.iterdir()} - {path.name for path in before} == {REPORT, REPORT_PAGE}
    assert failed(validate(version)) == set()
