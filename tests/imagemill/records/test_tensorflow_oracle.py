"""TensorFlow is the oracle of the codec and the framing. In one file: its import takes most of the time."""

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.images import ImageFacts
from imagemill.plan import ConversionSettings
from imagemill.records.example import decode_features, encode_features, encode_image_example
from imagemill.records.shard_writer import Reference, ShardFiles, record_order, write_shard
from imagemill.records.tfrecord import frame, read_records
from imagemill.rows import Row
from imagemill.storage import open_store
from tests.support.gate import build, toys
from tests.support.pictures import encode, noise
from tests.support.tampering import edit_index, edit_records, flip_bit, payload_position, reseal, shard
from tests.support.tensorflow_oracle import read_shards_under

tf = pytest.importorskip("tensorflow")

values = st.one_of(
    st.lists(st.binary(max_size=200), max_size=4),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), max_size=5),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def oracle(features):
    def feature(value):
        if not value:
            return tf.train.Feature()
        if isinstance(value[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
        if isinstance(value[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))

    features = {name: feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def as_dict(example):
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[name] = list(getattr(feature, kind).value) if kind else []
    return features


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, values, max_size=8))
def test_encodes_the_bytes_of_tensorflow(features):
    assert encode_features(features) == oracle(features).SerializeToString(deterministic=True)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, values, max_size=8))
def test_decodes_what_tensorflow_wrote(features):
    assert decode_features(oracle(features).SerializeToString()) == features


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, values, max_size=8))
def test_tensorflow_decodes_what_we_wrote(features):
    assert as_dict(tf.train.Example.FromString(encode_features(features))) == features


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=70_000),
    filename=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    label=st.integers(0, 1 << 40),
    label_text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    facts=st.builds(
        ImageFacts,
        format=st.sampled_from(["png", "jpeg"]),
        height=st.integers(1, 1 << 31),
        width=st.integers(1, 1 << 31),
        channels=st.integers(1, 4),
    ),
)
def test_an_image_example_has_the_bytes_of_tensorflow(data, filename, label, label_text, facts):
    digest = "0123456789abcdef" * 4
    assert encode_image_example(
        data, facts, filename=filename, sha256=digest, label=label, label_text=label_text
    ) == oracle(
        {
            "image/encoded": [data],
            "image/format": [facts.format.encode()],
            "image/height": [facts.height],
            "image/width": [facts.width],
            "image/channels": [facts.channels],
            "image/filename": [filename.encode()],
            "image/key/sha256": [digest.encode()],
            "image/class/label": [label],
            "image/class/text": [label_text.encode()],
        }
    ).SerializeToString(deterministic=True)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2_097_152])
def test_every_length_of_varint(size):
    features = {"a": [os.urandom(size)]}
    assert encode_features(features) == oracle(features).SerializeToString(deterministic=True)


@settings(max_examples=15, deadline=None)
@given(payloads=st.lists(st.binary(max_size=5000), max_size=6))
def test_tensorflow_reads_our_frames(payloads, tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "f.tfrecord"
    path.write_bytes(b"".join(map(frame, payloads)))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == payloads


def test_we_read_what_tensorflow_wrote(tmp_path):
    payloads = [b"", b"a", os.urandom(3 << 20)]
    path = tmp_path / "f.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for payload in payloads:
            writer.write(payload)
    assert path.read_bytes() == b"".join(map(frame, payloads))
    assert list(read_records(io.BytesIO(path.read_bytes()))) == [(0, b""), (16, b"a"), (33, payloads[2])]


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_tensorflow_reads_our_shards(compression, tmp_path):
    pictures = {f"{number} ü.png": encode(noise().rotate(number), "PNG") for number in range(20)}
    images, output = open_store(tmp_path / "images"), open_store(tmp_path / "version")
    for name, picture in pictures.items():
        images.write(name, picture)
    files = ShardFiles.named(dataset="pets", split="train", shard=0, shards=1, compression=compression)
    references = sorted((Reference(Row(name, "cat"), 4, "cat") for name in pictures), key=record_order)
    chosen = ConversionSettings(split_fractions={"train": 1.0}, compression=compression)
    write_shard(references, files, images=images, output=output, settings=chosen)
    scalar = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image/encoded", "image/filename")}
    scalar |= {name: tf.io.FixedLenFeature([], tf.int64) for name in ("image/class/label", "image/height")}
    shard = tf.data.TFRecordDataset(str(tmp_path / "version" / files.data), compression_type=compression.upper())
    found = {}
    for record in shard:
        example = tf.io.parse_single_example(record, scalar)
        assert tf.io.decode_image(example["image/encoded"]).shape == (24, 32, 3)
        assert (int(example["image/class/label"]), int(example["image/height"])) == (4, 24)
        found[example["image/filename"].numpy().decode()] = example["image/encoded"].numpy()
    assert found == pictures


def _another_label(records):
    records[0]["image/class/label"] = [2]


def _another_image(records):
    records[3]["image/encoded"] = records[4]["image/encoded"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda version, name: edit_records(version, name, _another_label), id="another label"),
        pytest.param(lambda version, name: edit_records(version, name, _another_image), id="another image"),
        pytest.param(lambda version, name: edit_index(version, name, lambda rows: rows.pop()), id="one too many"),
        pytest.param(lambda version, name: edit_index(version, name, list.reverse), id="another order"),
        pytest.param(
            lambda version, name: flip_bit(version, name, payload_position(version, name, 5)) or reseal(version, name),
            id="a flipped bit",
        ),
    ],
)
def test_what_is_asked_of_every_shard_of_every_test_finds(damage, tmp_path):
    built = build(tmp_path, toys())
    assert read_shards_under(tmp_path) == 4
    name = shard(built)
    damage(built, name)
    assert read_shards_under(tmp_path) == 0  # a test has damaged it
    with pytest.raises((AssertionError, tf.errors.DataLossError)) as caught:
        read_shards_under(tmp_path, without=())
    assert name.removeprefix("toys-").partition(".")[0] in caught.value.__notes__[0]


def test_every_session_is_asked(request):
    assert "tensorflow_reads_every_shard" in request.fixturenames
