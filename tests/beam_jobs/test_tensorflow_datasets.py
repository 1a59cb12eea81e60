"""What training does with a version: TFDS and TensorFlow are the oracles. The only tests here that import them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from imagemill.spec import Shards
from tests.support.conversions import SETTINGS, Inputs, manifest_of, mixture, picture

# TFDS 4.9 calls what protobuf 6 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LABELS = ("cät", "dog", "no such")


@pytest.fixture(scope="module")
def tf():
    import tensorflow

    return tensorflow


@pytest.fixture(scope="module")
def tfds(tf):
    import tensorflow_datasets

    return tensorflow_datasets


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A version of the mixture, and what it was made of."""
    inputs = mixture(tmp_path_factory.mktemp("mixture"))
    inputs.rows = [row.replace(b",cat", ",cät".encode()) for row in inputs.rows]
    inputs.write_index()
    return inputs, job(inputs, inputs.root / "v", shards=Shards(count={"train": 9, "test": 2}))


def job(inputs: Inputs, version: Path, **planning) -> Path:
    from beam_jobs.convert_images import main
    from imagemill.plan import PLAN

    inputs.plan(version, declared_labels=LABELS, **planning)
    assert main(["--plan", str(version / PLAN)]) == 0
    return version


def test_tfds_iterates_every_split_with_its_counts_and_labels(tf, tfds, coloured):
    inputs, version = coloured
    builder = tfds.builder_from_directory(version)
    manifest = manifest_of(version)
    assert set(builder.info.splits) == {"train", "test", "extra"}
    assert builder.info.features["image"]["class"]["label"].names == list(LABELS)
    seen = set()
    for split, info in builder.info.splits.items():
        shards = [shard for shard in manifest.shards if shard.split == split]
        assert info.num_examples == sum(shard.records for shard in shards)
        assert info.num_bytes == sum(shard.bytes for shard in shards)
        labels = Counter()
        for example in builder.as_dataset(split=split).as_numpy_iterator():
            image = example["image"]
            key = image["filename"].decode()
            seen.add(key)
            labels[int(image["class"]["label"])] += 1
            expected = tf.io.decode_image(inputs.good[key], channels=3).numpy()
            assert (image["encoded"] == expected).all()
            assert LABELS[int(image["class"]["label"])] == image["class"]["text"].decode()
        assert labels == sum((Counter(shard.labels) for shard in shards), Counter())
    assert seen == inputs.good.keys()


def test_tensorflow_parses_and_decodes_every_record(tf, coloured):
    inputs, version = coloured
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "image/width": tf.io.FixedLenFeature([], tf.int64),
        "image/channels": tf.io.FixedLenFeature([], tf.int64),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    }
    names = [str(version / shard.name) for shard in manifest_of(version).shards]
    encoded = {}
    for record in tf.data.TFRecordDataset(names).map(lambda data: tf.io.parse_single_example(data, features)):
        image = record["image/encoded"].numpy()
        encoded[record["image/filename"].numpy().decode()] = image
        shape = [int(record[f"image/{side}"]) for side in ("height", "width", "channels")]
        assert list(tf.io.decode_image(image).shape) == shape
    assert encoded == inputs.good


def test_images_of_one_kind_keep_their_channels(tfds, tmp_path):
    inputs = Inputs(tmp_path)
    for number in range(4):
        inputs.add_good(f"{number}.png", picture(number, mode="L"), "dog,train")
    inputs.write_index()
    version = job(inputs, tmp_path / "v", shards=Shards())
    builder = tfds.builder_from_directory(version)
    shapes = {example["image"]["encoded"].shape for example in builder.as_dataset(split="train").as_numpy_iterator()}
    assert shapes == {(6, 8, 1)}


def test_tfds_does_not_open_compressed_shards(tfds, tmp_path):
    """TFDS reads no compressed TFRecord, so such a version has no TFDS metadata that would say otherwise."""
    inputs = Inputs(tmp_path)
    inputs.add_good("a.png", picture(1), "dog,train")
    inputs.write_index()
    settings = SETTINGS.model_copy(update={"compression": "gzip"})
    version = job(inputs, tmp_path / "v", shards=Shards(), settings=settings)
    with pytest.raises(tfds.core.dataset_info.DatasetInfoFileError):
        tfds.builder_from_directory(version)
