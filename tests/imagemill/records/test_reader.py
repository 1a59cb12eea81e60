import io
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import imagemill
from imagemill import RecordReader
from imagemill.errors import CallerError, UnusableData
from imagemill.manifest import Manifest
from imagemill.plan import ConversionSettings
from imagemill.records import reader as reader_module
from imagemill.records.example import encode_features
from imagemill.records.reader import parse_record
from imagemill.records.shard_writer import Reference, ShardFiles, record_order, write_shard
from imagemill.records.sharding import key_hash, shard_of
from imagemill.records.tfrecord import CorruptRecord, frame, read_records
from imagemill.rows import Row
from imagemill.storage import open_store
from tests.support.pictures import encode, noise

LABELS = ["cat", "dog", "bird"]
SPLITS = {"train": 3, "test": 1}


def make_version(folder: Path, *, compression=""):
    """Writes 60 train and 20 test images as a version; returns the images by split and key."""
    settings = ConversionSettings(split_fractions={"train": 1.0}, compression=compression)
    images, output = open_store(folder / "images"), open_store(folder / "version")
    pictures, shards = {}, []
    for split, count in SPLITS.items():
        pictures[split] = {
            f"{split}/{number:02d}.png": encode(noise().rotate(number), "PNG") for number in range(20 * count)
        }
        rows = [Reference(Row(key, ""), n % 2, LABELS[n % 2]) for n, key in enumerate(pictures[split])]
        for reference in rows:
            images.write(reference.row.filename, pictures[split][reference.row.filename])
        for shard in range(count):
            files = ShardFiles.named(dataset="pets", split=split, shard=shard, shards=count, compression=compression)
            mine = [row for row in rows if shard_of(key_hash(row.row.filename), count) == shard]
            shards.append(
                write_shard(
                    sorted(mine, key=record_order), files, images=images, output=output, settings=settings
                ).entry
            )
    manifest = Manifest(
        dataset="pets",
        fingerprint="f" * 64,
        labels=LABELS,
        accounts=[],
        reject_reasons={},
        shards=sorted(shards, key=lambda shard: shard.name),
        files=[],
    )
    output.write("manifest.json", manifest.to_json())
    return pictures


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    return folder / "version", make_version(folder)


@pytest.fixture(scope="module")
def made_compressed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compressed")
    return folder / "version", make_version(folder, compression="gzip")


@pytest.fixture
def version(made):
    return str(made[0])


@pytest.fixture
def pictures(made):
    return made[1]


def test_positions_keys_and_iteration_agree(version, pictures):
    reader = RecordReader(version)
    every = pictures["test"] | pictures["train"]
    assert len(reader) == len(every) == 80
    records = list(reader)
    assert {record.key: record.encoded for record in records} == every
    assert [record.key for record in records[:20]] == sorted(pictures["test"], key=lambda key: (key_hash(key), key))
    for position, record in enumerate(records):
        assert reader[position] == reader[position - 80] == record == reader.by_key(record.key)
        assert reader.position(record.key) == position
        assert reader.entry(position).key == record.key
        assert record.key in reader


def test_a_record_has_all_its_features(version):
    record = RecordReader(version).by_key("train/01.png")
    assert (record.format, record.height, record.width, record.channels) == ("png", 24, 32, 3)
    assert (record.label, record.label_text) == (1, "dog")
    assert RecordReader(version).entry(RecordReader(version).position(record.key)).sha256.hex() == record.sha256


def test_one_split(version, pictures):
    reader = RecordReader(version, split="train")
    assert {record.key for record in reader} == set(pictures["train"])
    assert len(reader) == 60
    assert "test/01.png" not in reader


def test_by_class(version):
    reader = RecordReader(version)
    dogs = reader.positions("dog")
    assert dogs == reader.positions(1)
    assert len(dogs) == 40
    assert dogs == [position for position in range(80) if reader[position].label == 1]
    assert reader.positions("bird") == []
    with pytest.raises(CallerError, match="no class 'cow'; it has cat, dog, bird"):
        reader.positions("cow")


@pytest.mark.parametrize("key", ["gone.png", "", "train/01.pn"])
def test_a_key_that_is_not_there(version, key):
    reader = RecordReader(version)
    assert key not in reader
    assert 7 not in reader
    with pytest.raises(KeyError):
        reader.by_key(key)
    with pytest.raises(KeyError):
        reader.position(key)


@pytest.mark.parametrize("position", [80, -81])
def test_a_position_outside(version, position):
    with pytest.raises(IndexError, match="there are 80"):
        RecordReader(version)[position]


def test_threads_share_a_reader(version):
    reader, alone = RecordReader(version), RecordReader(version)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: reader[n % 80], range(800))) == [alone[n % 80] for n in range(800)]


def test_a_reader_travels_to_other_processes(version):
    reader = RecordReader(version, split="train")
    assert pickle.loads(pickle.dumps(reader))[7] == reader[7]


@pytest.mark.parametrize("block_bytes", [17, 1000, 3000, 1 << 20])
def test_iteration_does_not_depend_on_the_block(version, block_bytes, monkeypatch):
    expected = [RecordReader(version)[position] for position in range(80)]
    monkeypatch.setattr(reader_module, "BLOCK_BYTES", block_bytes)
    assert list(RecordReader(version)) == expected


@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_compressed_shards_are_iterated_but_not_addressed(made_compressed, block_bytes, monkeypatch):
    version, pictures = made_compressed
    monkeypatch.setattr(reader_module, "BLOCK_BYTES", block_bytes)
    reader = RecordReader(str(version))
    assert {record.key: record.encoded for record in reader} == pictures["train"] | pictures["test"]
    with pytest.raises(CallerError, match="compressed as a whole"):
        reader[0]


def damaged_copy(version, to, name, change):
    shutil.copytree(version, to / "damaged")
    path = next((to / "damaged").glob(name))
    path.write_bytes(change(path.read_bytes()))
    return str(to / "damaged")


def flip(data):
    return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]


@pytest.mark.parametrize("read", [list, lambda reader: [reader[n] for n in range(80)]])
@pytest.mark.parametrize("change", [flip, lambda data: data[:-1], lambda data: b""])
def test_damage_is_named_with_shard_and_offset(version, tmp_path, read, change):
    damaged = damaged_copy(version, tmp_path, "*train.tfrecord-00001*", change)
    with pytest.raises(CorruptRecord, match=r"pets-train.tfrecord-00001-of-00003: byte offset \d+: "):
        read(RecordReader(damaged))


@pytest.mark.parametrize("change", [lambda data: data[:-100], flip, lambda data: b"junk"])
def test_damage_of_a_compressed_shard_is_found(made_compressed, tmp_path, change):
    damaged = damaged_copy(made_compressed[0], tmp_path, "*train.tfrecord-00001*", change)
    with pytest.raises(UnusableData, match=r"pets-train\.tfrecord-00001-of-00003\.gz"):
        list(RecordReader(damaged))


def test_a_damaged_index_is_found(version, tmp_path):
    damaged = damaged_copy(version, tmp_path, "*train.index-00001*", flip)
    with pytest.raises(UnusableData, match=r"train.index-00001-of-00003: its checksum is not the manifest's"):
        list(RecordReader(damaged))


def renamed(data):
    payloads = (payload for _, payload in read_records(io.BytesIO(data)))
    return b"".join(frame(payload.replace(b"train/", b"other/")) for payload in payloads)


def test_a_shard_that_is_not_its_index_s_is_found(version, tmp_path):
    damaged = damaged_copy(version, tmp_path, "*train.tfrecord-00001*", renamed)
    with pytest.raises(
        UnusableData, match=r"tfrecord-00001-of-00003: byte offset 0: the record is 'other/\d+.png', not"
    ):
        list(RecordReader(damaged))


def test_what_is_no_version_is_the_caller_s_mistake(tmp_path, version):
    with pytest.raises(CallerError, match=r"is not a version: it has no manifest.json"):
        RecordReader(str(tmp_path))
    with pytest.raises(CallerError, match="no split 'dev'; it has test, train"):
        RecordReader(version, split="dev")


@pytest.mark.parametrize("features", [{}, {"image/filename": 1}, {"image/filename": b"\xff"}, {"image/filename": []}])
def test_another_example_is_no_record(features):
    with pytest.raises(UnusableData, match=r"here: not a record of imagemill"):
        parse_record(encode_features(features), where="here")


def test_it_is_exported_and_imports_nothing_heavy():
    assert imagemill.RecordReader is RecordReader
    script = "import imagemill, sys; before = set(sys.modules); imagemill.RecordReader; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "PIL", "tensorflow", "apache_beam"} & set(done.stdout.split())
