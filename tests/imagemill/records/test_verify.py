import pytest

from imagemill.errors import UnusableData
from imagemill.plan import ConversionSettings
from imagemill.records.verify import verify_shard
from imagemill.rows import Row
from imagemill.storage import MissingObject
from tests.support.tampering import edit_index, edit_records, flip_bit, index_of, payload_position, shard
from tests.support.versions import build_version, stage


def build(folder, compression=""):
    rows = stage(folder / "images", [Row(f"{number}.png", "cat", "train") for number in range(10)])
    settings = ConversionSettings(split_fractions={}, split_names=("train",), compression=compression)
    return build_version(
        folder / "version", folder / "images", rows, labels=("cat", "dog"), shards={"train": 1}, settings=settings
    )


@pytest.fixture
def version(tmp_path):
    return build(tmp_path)


def verify(version):
    return verify_shard(str(version.folder / shard(version)))


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_a_sound_shard_has_its_records_counted(tmp_path, compression):
    assert verify(build(tmp_path, compression)) == 10


def relabel(rows):
    rows[3] = rows[3]._replace(label=1)


def swap(rows):
    rows[3], rows[4] = rows[4], rows[3]


def cut(version):
    path = version.folder / shard(version)
    path.write_bytes(path.read_bytes()[:-1])


def another_image(records):
    records[2]["image/encoded"] = [records[3]["image/encoded"][0]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda v: flip_bit(v, shard(v), payload_position(v, shard(v), 4)), "byte offset", id="a bit"),
        pytest.param(cut, "the file ends 1 bytes before", id="cut"),
        pytest.param(lambda v: edit_records(v, shard(v), another_image), "another digest", id="another image"),
        pytest.param(lambda v: edit_index(v, shard(v), relabel), "does not know the record", id="another label"),
        pytest.param(lambda v: edit_index(v, shard(v), swap), "does not know the record", id="another order"),
        pytest.param(lambda v: edit_index(v, shard(v), lambda rows: rows.pop()), "does not know", id="a row less"),
        pytest.param(lambda v: edit_index(v, shard(v), lambda rows: rows.append(rows[0])), "10 of 11", id="a row more"),
        pytest.param(lambda v: edit_index(v, shard(v), list, hashed=len), "another hash", id="other hashes"),
        pytest.param(lambda v: flip_bit(v, index_of(v, shard(v)), 0), "not a shard index", id="no index"),
    ],
)
def test_what_does_not_hold_is_unusable_data(version, damage, message):
    damage(version)
    with pytest.raises(UnusableData, match=message):
        verify(version)


@pytest.mark.parametrize("gone", [shard, lambda version: index_of(version, shard(version))], ids=["shard", "index"])
def test_shard_and_index_belong_together(version, gone):
    uri = str(version.folder / shard(version))
    (version.folder / gone(version)).unlink()
    with pytest.raises(MissingObject):
        verify_shard(uri)
