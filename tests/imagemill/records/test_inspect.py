import gzip

import pytest

from imagemill.errors import CallerError, UnusableData
from imagemill.plan import ConversionSettings
from imagemill.records.inspect import InspectedRecord, inspect_shard, save_image
from imagemill.records.sharding import index_beside
from imagemill.rows import Row
from imagemill.storage import MissingObject
from tests.support.tensorflow_oracle import leave_out
from tests.support.versions import build_version, stage

ROWS = [Row(f"{number}.png", "cat", "train") for number in range(20)]
NAME = "toys-train.tfrecord-00000-of-00001"


def build(folder, compression=""):
    settings = ConversionSettings(split_fractions={}, split_names=("train",), compression=compression)
    rows = stage(folder / "images", ROWS)
    return build_version(
        folder / "version", folder / "images", rows, labels=("cat",), shards={"train": 1}, settings=settings
    ).folder


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return build(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    return build(tmp_path_factory.mktemp("compressed"), "gzip") / f"{NAME}.gz"


def keys(records):
    return [record.features["image/filename"] for record in records]


def test_the_first_records_in_order(version, compressed):
    found = keys(inspect_shard(str(version / NAME), count=100))
    assert sorted(found) == sorted(row.filename for row in ROWS)
    assert keys(inspect_shard(str(version / NAME), count=3)) == found[:3]
    assert keys(inspect_shard(str(compressed), count=3)) == found[:3]


def test_a_key_is_looked_up_in_the_index_and_one_record_is_read(version, tmp_path):
    *before, last = inspect_shard(str(version / NAME), count=100)
    key = last.features["image/filename"]
    data = (version / NAME).read_bytes()
    leave_out(tmp_path)
    (tmp_path / NAME).write_bytes(bytes(before[-1].offset) + data[before[-1].offset :])  # the first records are gone
    (tmp_path / index_beside(NAME)).write_bytes((version / index_beside(NAME)).read_bytes())
    assert list(inspect_shard(str(tmp_path / NAME), count=5, key=key)) == [last]


def test_a_key_is_found_without_an_index_and_in_a_compressed_shard(version, compressed, tmp_path):
    (tmp_path / NAME).write_bytes((version / NAME).read_bytes())
    for shard in (version / NAME, tmp_path / NAME, compressed):
        assert keys(inspect_shard(str(shard), count=5, key="13.png")) == ["13.png"]
        with pytest.raises(CallerError, match=r"has no record of 'none\.png'"):
            list(inspect_shard(str(shard), count=5, key="none.png"))


def test_no_such_shard(tmp_path):
    for key in (None, "x"):
        with pytest.raises(MissingObject):
            list(inspect_shard(str(tmp_path / NAME), count=5, key=key))


@pytest.mark.parametrize("key", [None, "none.png"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut"),
        pytest.param(lambda data: b"no gzip" + data, id="no gzip"),
        pytest.param(lambda data: data[:30] + b"\xff\xff" + data[32:], id="damaged"),
        pytest.param(lambda data: gzip.compress(gzip.decompress(data)[:-20]), id="a shard cut before compression"),
    ],
)
def test_a_damaged_compressed_shard_is_unusable_data_by_name(compressed, tmp_path, damage, key):
    shard = tmp_path / f"{NAME}.gz"
    shard.write_bytes(damage(compressed.read_bytes()))
    with pytest.raises(UnusableData, match=f"{NAME}.gz: "):
        list(inspect_shard(str(shard), count=100, key=key))


def test_names_that_cannot_both_be_saved_are_the_callers_mistake(tmp_path):
    first, second = (InspectedRecord(0, {"image/filename": name}, b"image") for name in ("x", "x/y"))
    assert save_image(first, tmp_path).read_bytes() == b"image"
    with pytest.raises(CallerError, match=r"cannot write .*x/y"):
        save_image(second, tmp_path)


@pytest.mark.parametrize(("name", "image"), [("../x", b"image"), ("", b"image"), ("x", b"")])
def test_nothing_is_saved_outside_the_folder_or_without_an_image(tmp_path, name, image):
    with pytest.raises(CallerError, match="no image that can be saved"):
        save_image(InspectedRecord(0, {"image/filename": name}, image), tmp_path)
