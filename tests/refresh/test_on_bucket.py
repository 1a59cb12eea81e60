"""A whole refresh with staging and output in a bucket: the bytes of a local one, and they come back down readable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import imagemill as library
from imagemill.catalog import read_manifest
from imagemill.manifest import MANIFEST
from imagemill.version.folder import manifest_entries
from tests.support.command import SPEC, Command
from tests.support.gcs.faults import Rule
from tests.support.gcs.server import client_environment, emulator

# TFDS 4.9 calls what protobuf 6 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

OUTPUT = "gs://mill/datasets/dots"
LOCATIONS = f"locations: {{staging: gs://mill/staging/dots, output: {OUTPUT}}}\n"


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=["mill"]) as running:
        yield running


@pytest.fixture(scope="module")
def on_bucket(gcs, tmp_path_factory):
    """The command with the emulator's variables, as a person exports them."""
    command = Command(tmp_path_factory.mktemp("on-bucket"))
    command.spec("dots", SPEC + LOCATIONS)
    command.variables = client_environment(gcs.url) | {
        "IMAGEMILL_STORAGE_DEADLINE_SECONDS": "20",
        "IMAGEMILL_STORAGE_PAUSE_SECONDS": "0.02",
    }
    return command


@pytest.fixture
def in_reach(on_bucket, monkeypatch):
    """The emulator for this process too."""
    for name, value in on_bucket.variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def published(gcs, on_bucket):
    # A little of everything that goes wrong on a usual day.
    gcs.strike(
        Rule(kind="status", status=503, operation="upload", skip=5, times=2),
        Rule(kind="reset", operation="read", skip=7, times=2),
        Rule(kind="lost answer", operation="upload", name="tfrecord", times=1),
        Rule(kind="status", status=429, operation="list", times=1),
        Rule(kind="lost answer", operation="upload", name="CURRENT$", times=1),
    )
    ended = on_bucket("refresh", "dots", "--json")
    assert ended.code == 0, ended.err
    assert gcs.struck() == 7
    gcs.strike()
    return ended.json


@pytest.fixture(scope="module")
def down(on_bucket, published, tmp_path_factory):
    """The datasets of the bucket, brought down by `sync`."""
    folder = tmp_path_factory.mktemp("down") / "dots"
    assert on_bucket("sync", OUTPUT, folder).code == 0
    return folder


def test_the_bytes_are_those_of_a_local_run(imagemill, down):
    imagemill.spec("dots", SPEC)
    assert imagemill("refresh", "dots").code == 0
    local = Path(library.current(str(imagemill.home / "datasets" / "dots")))
    (remote,) = (down / "versions").iterdir()
    manifest = read_manifest(str(local))
    for name in (MANIFEST, *(entry.name for entry in manifest_entries(manifest))):
        assert (remote / name).read_bytes() == (local / name).read_bytes(), name


def test_the_pointer_names_the_version_by_its_uri(on_bucket, published, down, in_reach):
    pointer = json.loads((down / "CURRENT").read_text())
    assert published["results"]["publish"]["path"] == f"{OUTPUT}/versions/{pointer['version']}"
    assert on_bucket("path", "dots").out.strip() == f"{OUTPUT}/versions/{pointer['version']}"
    assert library.current(OUTPUT) == f"{OUTPUT}/versions/{pointer['version']}"


def test_tfds_and_tensorflow_read_what_came_down(down):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    version = Path(library.current(str(down)))
    builder = tfds.builder_from_directory(version)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {"train": 40, "test": 10}
    shards = [str(version / shard.name) for shard in read_manifest(str(version)).shards]
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image/encoded", "image/filename")}
    seen = set()
    for record in tf.data.TFRecordDataset(shards):
        example = tf.io.parse_single_example(record, features)
        assert tf.io.decode_image(example["image/encoded"]).shape.rank == 3
        seen.add(example["image/filename"].numpy())
    assert len(seen) == 50


def test_the_reader_opens_it_in_the_bucket(published, in_reach):
    reader = library.RecordReader(library.current(OUTPUT))
    assert len(reader) == 50
    assert reader[7].encoded


def test_a_second_refresh_reads_no_image_and_uploads_nothing(gcs, on_bucket, published):
    gcs.strike()
    again = on_bucket("refresh", "dots")
    assert again.code == 0, again.err
    assert "nothing changed" in again.out
    assert gcs.seen().get("upload", 0) == 0
    assert gcs.seen()["read"] < 10


def test_a_bucket_that_stays_down_is_a_temporary_fault(gcs, on_bucket, published, monkeypatch):
    monkeypatch.setitem(on_bucket.variables, "IMAGEMILL_STORAGE_DEADLINE_SECONDS", "0.3")
    gcs.strike(Rule(kind="status", status=503, times=-1))
    for arguments in (("sync", OUTPUT, on_bucket.project / "x"), ("versions", "dots"), ("path", "dots")):
        ended = on_bucket(*arguments)
        assert ended.code == 3, ended.err
        assert "it continues" in ended.err
    gcs.strike()


def test_no_permission_is_the_callers_mistake(gcs, on_bucket, published):
    gcs.strike(Rule(kind="status", status=403, reason="forbidden", operation="list", times=-1))
    ended = on_bucket("sync", OUTPUT, on_bucket.project / "x")
    gcs.strike()
    assert ended.code == 2
    assert "roles/storage.objectViewer on gs://mill" in ended.err
