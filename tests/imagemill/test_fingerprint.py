"""What is in the fingerprint, and what is not: every key of a spec is on one of the two lists."""

from datetime import UTC, datetime

import pytest

from imagemill import steps
from imagemill.plan import ConversionSettings
from imagemill.spec import Conversion, DatasetSpec
from tests.support.gate import build, toys

NOW = datetime(2026, 1, 1, tzinfo=UTC)

IGNORED = {
    "description": "another text",
    "about": {"license": "CC0-1.0"},
    "source": {"type": "shapes", "train": 50, "test": 10},
    "locations": {"work": "elsewhere"},
    "schedule": "@hourly",
    "after": ["other"],
    "validation": {"sample": 7, "max_rejected": 0.5, "checks": {"labels": "skip"}, "drift": {"max_shrink": 1}},
    "retention": {"keep": 1, "min_age_days": 0},
    "alerts": {"email": ["somebody@example.org"]},
    "approval": "required",
    "approval_hours": 5,
}

IGNORED_OF_CONVERSION = {
    "runner": {"runner": "prism", "runner_options": {"prism_location": "/opt/prism"}},
    "runner_options": {"runner_options": {"direct_num_workers": 2}},
    "dataflow": {"dataflow": {"max_num_workers": 3}},
}

DECIDING = {
    "name": {"name": "toons"},
    "splits": {"splits": {"names": ["train", "test", "val"]}},
    "labels": {"labels": {"names": ["cat", "dog", "owl", "yak"]}},
    "conversion": {"conversion": {"verification": "decode"}},
}

DECIDING_IN_CONVERSION = {
    "shards": {"count": {"train": 3}},
    "formats": ["png"],
    "verification": "decode",
    "max_image_bytes": 1 << 20,
    "max_image_pixels": 1 << 20,
    "compression": "gzip",
}


@pytest.fixture(scope="module")
def staging(tmp_path_factory):
    root = tmp_path_factory.mktemp("staging")
    build(root, toys(12)).images.rename(root / "images")
    return root


@pytest.fixture
def fingerprint(staging, tmp_path):
    def of(**changes):
        settings = {
            "name": "toys",
            "source": {"type": "shapes"},
            "splits": {"names": ["train", "test"]},
        } | changes
        locations = {"staging": str(staging), "output": str(tmp_path / "out"), "work": str(tmp_path / "work")}
        locations |= settings.pop("locations", {})
        spec = DatasetSpec.model_validate(settings | {"locations": locations})
        return steps.plan_conversion(spec, now=NOW).fingerprint

    return of


def test_every_key_is_on_one_of_the_lists():
    assert DatasetSpec.model_fields.keys() == IGNORED.keys() | DECIDING.keys()
    assert Conversion.model_fields.keys() == IGNORED_OF_CONVERSION.keys() | DECIDING_IN_CONVERSION.keys()
    decided = {"split_fractions", "split_names"} | DECIDING_IN_CONVERSION.keys() - {"shards"}
    assert ConversionSettings.model_fields.keys() == decided


@pytest.mark.parametrize("key", IGNORED)
def test_what_does_not_affect_the_bytes_is_not_in_it(fingerprint, key, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert fingerprint(**{key: IGNORED[key]}) == fingerprint()


@pytest.mark.parametrize("key", IGNORED_OF_CONVERSION)
def test_nor_is_where_it_is_converted(fingerprint, key):
    assert fingerprint(conversion=IGNORED_OF_CONVERSION[key]) == fingerprint()


@pytest.mark.parametrize("key", DECIDING)
def test_what_affects_the_bytes_is_in_it(fingerprint, key):
    assert fingerprint(**DECIDING[key]) != fingerprint()


@pytest.mark.parametrize("key", DECIDING_IN_CONVERSION)
def test_so_is_how_it_is_converted(fingerprint, key):
    assert fingerprint(conversion={key: DECIDING_IN_CONVERSION[key]}) != fingerprint()


def test_the_order_of_the_splits_is_in_it(fingerprint):
    one, two = {"train": 0.5, "test": 0.5}, {"test": 0.5, "train": 0.5}
    folder = {"type": "folder", "root": "images"}
    first, second = (fingerprint(source=folder, splits={"names": [], "fractions": order}) for order in (one, two))
    assert first != second


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: (root / "images" / "00001.png").write_bytes(b"other"), id="an image"),
        pytest.param(lambda root: (root / "index.csv").write_text("00001.png,cat,train\n"), id="the rows"),
        pytest.param(lambda root: (root / "labels.txt").write_text("owl\ndog\ncat\n"), id="the ids"),
    ],
)
def test_the_rows_images_and_labels_are_in_it(fingerprint, staging, change):
    kept = {path: path.read_bytes() for path in staging.rglob("*") if path.is_file()}
    before = fingerprint()
    change(staging)
    after = fingerprint()
    (staging / "labels.txt").unlink(missing_ok=True)
    for path, data in kept.items():
        path.write_bytes(data)
    assert after != before
    assert fingerprint() == before
