"""The checks against the published version, each on a pair of versions that has the defect it is for."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from imagemill.diff.model import DIFF, Change, VersionDiff
from imagemill.manifest import MANIFEST
from imagemill.plan import PLAN
from imagemill.quality.checks.drift import jensen_shannon
from imagemill.quality.report import REPORT, Verdict, parse_report
from imagemill.quality.validate import write_report
from imagemill.rows import Row
from imagemill.spec.validation import Drift, Validation
from tests.support.gate import LATER, blocked, build, failed, judge, toys
from tests.support.tampering import index_of, replace_object, shard
from tests.support.versions import BuiltVersion, picture

AGAINST = {
    "row_drift",
    "labels_kept",
    "new_labels",
    "label_drift",
    "image_drift",
    "moved_splits",
    "relabelled",
    "changed_images",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return build(tmp_path_factory.mktemp("published"), toys())


def judge_after(published, root, images, settings=None, **options):
    version = build(root, images, version=LATER, **options)
    return judge(version, settings, published_uri=str(published.folder))


@pytest.mark.parametrize("damaged", ["published", "candidate"])
def test_an_index_key_that_is_no_text_is_a_finding_whichever_version_has_it(tmp_path, damaged):
    versions = {"published": build(tmp_path, toys()), "candidate": build(tmp_path, toys(), version=LATER)}
    version = versions[damaged]
    index = index_of(version, shard(version, 0))
    replace_object(version, index, (version.folder / index).read_bytes()[:-1] + b"\xff")
    report = judge(versions["candidate"], published_uri=str(versions["published"].folder))
    assert failed(report) == ({"shard_index"} if damaged == "candidate" else set())
    assert "not UTF-8" in report.check("relabelled").observed
    assert report.check("relabelled").verdict is Verdict.SKIPPED


def numbered(images):
    return list(enumerate(images.items()))


def half_gone(images):
    return dict(list(images.items())[::2])


def fewer_in_test(images):
    return {row: data for n, (row, data) in numbered(images) if row.split == "train" or n % 8 == 3}


def grown(images):
    return images | {
        Row(f"x{n}.png", ("cat", "dog", "owl")[n % 3], "test" if n % 4 == 3 else "train"): picture(500 + n)
        for n in range(30)
    }


def without_owls(images):
    return {row: data for row, data in images.items() if row.label != "owl"}


def with_bird(images):
    return images | {Row("bird.png", "zebra finch", "train"): picture(900)}


def owls_for_cats(images):
    """Most cats are gone, and as many other owls have come."""
    cats = [row for row in images if row.label == "cat"][:14]
    kept = {row: data for row, data in images.items() if row not in cats}
    return kept | {Row(f"owl{n}.png", "owl", row.split): picture(700 + n) for n, row in enumerate(cats)}


def moved(images):
    (row, data), *rest = images.items()
    return dict(rest) | {row._replace(split="test" if row.split == "train" else "train"): data}


def swapped_labels(images):
    to = {"cat": "dog", "dog": "cat", "owl": "owl"}
    return {row._replace(label=to[row.label]): data for row, data in images.items()}


def other_bytes(images):
    return {row: picture(1_002 + 3 * n) for n, (row, _) in numbered(images)}


DEFECTS = [
    pytest.param(half_gone, {}, {"row_drift"}, "30 records, 50.0% fewer than 60", id="half gone"),
    pytest.param(
        fewer_in_test, {"drift": Drift(max_shrink=0.2)}, {"row_drift"}, "split test", id="half of a split gone"
    ),
    pytest.param(grown, {"drift": Drift(max_growth=0.4)}, {"row_drift"}, "1.5 times the 60", id="grown"),
    pytest.param(
        without_owls,
        {"min_records_per_label": 0, "drift": Drift(max_shrink=0.5)},
        {"labels_kept"},
        "'owl' had 20 records",
        id="label vanished",
    ),
    pytest.param(with_bird, {}, {"new_labels"}, "'zebra finch' is new, with 1 records", id="new label"),
    pytest.param(owls_for_cats, {"drift": Drift(max_label_divergence=1)}, {"label_drift"}, "label ", id="shift"),
    pytest.param(
        owls_for_cats,
        {"drift": Drift(max_label_shift=1, max_label_divergence=0.03)},
        {"label_drift"},
        "bits",
        id="divergence",
    ),
    pytest.param(moved, {}, {"moved_splits"}, "1 records: train → test", id="moved split"),
    pytest.param(swapped_labels, {}, {"relabelled"}, "20 records: cat → dog", id="labels swapped"),
    pytest.param(other_bytes, {}, {"changed_images"}, "(train, cat)", id="all images changed"),
]


@pytest.mark.parametrize(("change", "settings", "caught_by", "told"), DEFECTS)
def test_a_drift_is_caught_by_the_check_meant_for_it(published, tmp_path, change, settings, caught_by, told):
    labels = ["cat", "dog", "owl"]
    images = change(toys())
    labels += sorted({row.label for row in images} - set(labels))
    report = judge_after(published, tmp_path, images, Validation(**settings), labels=labels)
    assert failed(report) == caught_by
    (name,) = caught_by
    assert told in " ".join(map(str, report.check(name).places))
    assert report.check(name).advice
    assert blocked(report) == caught_by - {"new_labels", "image_drift"}


def in_class_folders(folder_of, name):
    """Returns the images of each label in a folder, as a source has them whose labels are its folders."""
    return {
        Row(
            f"{folder_of[label]}/{name.format(label[0], n)}.png", folder_of[label], "test" if n % 4 == 3 else "train"
        ): (picture(100 * which + n))
        for which, label in enumerate(folder_of)
        for n in range(20)
    }


@pytest.mark.parametrize(
    "name", [pytest.param("{0}{1}", id="every file has its name"), pytest.param("{1}", id="names are numbers")]
)
def test_class_folders_that_were_exchanged_are_caught(tmp_path, name):
    base = build(tmp_path / "base", in_class_folders({"cat": "cat", "dog": "dog", "owl": "owl"}, name))
    exchanged = in_class_folders({"cat": "dog", "dog": "cat", "owl": "owl"}, name)
    report = judge_after(base, tmp_path / "after", exchanged, labels=["cat", "dog", "owl"])
    assert failed(report) == {"relabelled"}
    told = report.check("relabelled")
    assert told.observed.startswith("40 of 60 images have another label")
    assert {"20 records: cat → dog", "20 records: dog → cat"} <= {place.detail for place in told.places}
    assert re.search(r"cat/\S+ → dog/\S+ \((train|test), cat → \1, dog\)", " ".join(map(str, told.places)))
    assert (report.base.diff.total.renamed, report.base.diff.total.changed) == (40, 0)


def test_a_rename_of_all_images_is_no_finding(tmp_path):
    images = toys()
    base = build(tmp_path / "base", images)
    report = judge_after(
        base, tmp_path / "after", {Row(f"new/{row.filename}", *row[1:]): images[row] for row in images}
    )
    assert failed(report) == set()
    assert (report.base.diff.total.renamed, report.base.diff.total.relabelled) == (60, 0)


def test_renumbered_labels_are_caught(published, tmp_path):
    report = judge_after(published, tmp_path, toys(), labels=["dog", "cat", "owl"])
    assert blocked(report) == {"labels_kept"}
    assert "label id 0 was 'cat' and is 'dog'" in str(report.check("labels_kept").places[0])


def test_other_sizes_of_images_are_told(tmp_path):
    small = build(tmp_path / "small", {Row(f"{n}.png", "ab"[n % 2], "train"): picture(n) for n in range(9)})
    large = {Row(f"{n}.png", "ab"[n % 2], "train"): picture(n, image_format="JPEG") for n in range(9)}
    report = judge_after(small, tmp_path / "large", large, Validation(drift=Drift(max_changed=1)))
    assert failed(report) == {"image_drift"}
    assert report.passed
    assert "mean bytes" in str(report.check("image_drift").places[0])


def test_one_percent_changed_passes_with_the_right_diff(published, tmp_path):
    images = toys()
    row = list(images)[7]
    images[row] = picture(1_000)
    images[Row("new.png", "cat", "test")] = picture(2_000)
    report = judge_after(published, tmp_path, images)
    assert failed(report) == set()
    diff = report.base.diff
    assert (diff.total.changed, diff.total.added, diff.total.removed, diff.unchanged) == (1, 1, 0, 59)
    assert diff.examples[Change.CHANGED][0].key == row.filename
    assert diff.examples[Change.ADDED][0].key == "new.png"
    assert report.base.label_counts == {"cat": 20, "dog": 20, "owl": 20}
    write_report(report)
    folder = tmp_path / "versions" / LATER
    assert VersionDiff.model_validate_json((folder / DIFF).read_bytes()) == diff
    assert parse_report((folder / REPORT).read_bytes(), where="") == report
    assert failed(judge_again(folder, tmp_path, published)) == set()  # diff.json is no foreign object


def judge_again(folder, root, published):
    return judge(BuiltVersion(folder, root / f"{LATER}-images"), published_uri=str(published.folder))


def test_nothing_changed_is_no_finding(published, tmp_path):
    report = judge_after(published, tmp_path, toys())
    assert failed(report) == set()
    assert report.base.diff.empty
    assert {report.check(name).verdict for name in AGAINST} == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("damage", "skipped", "reason"),
    [
        pytest.param(
            lambda v: (v.folder / MANIFEST).write_bytes(b"{}"),
            AGAINST,
            "cannot be read: .*not a readable",
            id="manifest",
        ),
        pytest.param(lambda v: (v.folder / MANIFEST).unlink(), AGAINST, "cannot be read", id="no manifest"),
        pytest.param(
            lambda v: (v.folder / index_of(v, shard(v))).write_bytes(b"IMINDEX"),
            {"moved_splits", "relabelled", "changed_images"},
            "indexes could not be compared",
            id="index",
        ),
        pytest.param(lambda v: (v.folder / "facts.json").unlink(), {"image_drift"}, "no facts.json", id="facts"),
    ],
)
def test_what_a_damaged_base_does_not_tell_is_visibly_skipped(tmp_path, damage, skipped, reason):
    base = build(tmp_path / "base", toys())
    damage(base)
    report = judge_after(base, tmp_path, toys())
    assert {name for name in AGAINST if report.check(name).verdict is Verdict.SKIPPED} == skipped
    for name in skipped:
        assert re.search(reason, report.check(name).observed)


def test_without_a_base_nothing_is_compared(published):
    alone = judge(published)
    itself = judge(published, published_uri=str(published.folder))
    for report, reason in ((alone, "no published version"), (itself, "the published version itself")):
        assert {report.check(name).verdict for name in AGAINST} == {Verdict.SKIPPED}
        assert reason in report.check("row_drift").observed
        assert report.base is None
        assert report.passed


def test_a_rehearsal_on_some_rows_is_compared_with_nothing(published, tmp_path):
    version = build(tmp_path, half_gone(toys()), version=LATER, labels=["cat", "dog", "owl"])
    plan = json.loads((version.folder / PLAN).read_bytes()) | {"sample_below": 1 << 60}
    (version.folder / PLAN).write_text(json.dumps(plan))
    report = judge(version, published_uri=str(published.folder))
    assert failed(report) == set()
    assert "limited sample" in report.check("row_drift").observed


shares = st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any)


@given(shares, shares)
def test_the_divergence_is_scipys(first, second):
    one, two = ({str(n): count / sum(counts) for n, count in enumerate(counts)} for counts in (first, second))
    expected = distance.jensenshannon(list(one.values()), list(two.values()), base=2) ** 2
    assert jensen_shannon(one, two) == pytest.approx(0 if math.isnan(expected) else expected, abs=1e-9)
