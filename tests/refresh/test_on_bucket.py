"""A whole refresh with staging and output in a bucket: the bytes of a local one, and they come back down readable."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import imagemill as library
from imagemill.catalog import read_manifest
from imagemill.manifest import MANIFEST
from imagemill_airflow.shard_watch import LOOK_EVERY_SECONDS
from tests.support.command import Command
from tests.support.gcs.faults import Rule
from tests.support.gcs.server import client_environment, emulator
from tests.support.google_sign_in import token_server

# TFDS 4.9 calls what protobuf 6 has deprecated. Three refreshes come before the first test: a minute here, but 200 s
# where the machine is busy.
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

DEMO = (Path(__file__).parents[2] / "dags" / "datasets" / "shapes.yaml").read_text()
OUTPUT = "gs://mill/datasets/shapes"
COUNTS = {"shapes": {"train": 600, "test": 120}, "many": {"train": 4000, "test": 1000}}


def spec(name, staging, output):
    return f"{DEMO.replace('name: shapes', f'name: {name}')}\nlocations: {{staging: {staging}, output: {output}}}\n"


def located(name):
    return spec(name, f"gs://mill/staging/{name}", f"gs://mill/datasets/{name}")


def counts(name):
    return {f"IMAGEMILL_SHAPES_{split.upper()}": str(count) for split, count in COUNTS[name].items()}


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=["mill"]) as running:
        yield running


@pytest.fixture(scope="module")
def on_bucket(gcs, tmp_path_factory):
    """The command with the emulator's variables, as a person exports them."""
    command = Command(tmp_path_factory.mktemp("on-bucket"))
    command.spec("shapes", located("shapes"))
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
    ended = on_bucket("refresh", "shapes", "--json")
    assert ended.code == 0, ended.err
    assert gcs.struck() == 7
    gcs.strike()
    return ended.json


@pytest.fixture(scope="module")
def asked(gcs, published, tmp_path_factory):
    """What was asked of a service that knows signed-in accounts only, for 5,000 images and an Airflow connection."""
    command = Command(tmp_path_factory.mktemp("signed-in"))
    command.spec("many", located("many"))
    with token_server() as server:
        connection = {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": json.dumps(server.key())}}
        command.variables = counts("many") | {
            "IMAGEMILL_GCS_ENDPOINT": gcs.url,
            "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
        }
        gcs.strike(Rule(kind="status", status=401, token="^$", times=-1))
        ended = command("refresh", "many")
    assert ended.code == 0, ended.err
    assert gcs.struck() == 0
    operations = ("list", "read", "upload")
    found = {operation: gcs.asked(operation) for operation in operations}
    gcs.strike()
    return found


@pytest.fixture(scope="module")
def down(on_bucket, published, asked, tmp_path_factory):
    """The datasets of the bucket, brought down by `sync`."""
    folder = tmp_path_factory.mktemp("down")
    assert on_bucket("sync", "gs://mill/datasets", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def local(imagemill):
    """The same datasets from this machine's folders: the demo by the DAG, the other one by single commands."""
    imagemill.spec("shapes", DEMO)
    assert imagemill("refresh", "shapes").code == 0
    folder = imagemill.project / "many"
    imagemill.spec("many", spec("many", folder / "staging", imagemill.home / "datasets" / "many"))
    imagemill.variables |= counts("many")
    assert imagemill("prepare", "many", "--out", folder / "staging").code == 0
    assert imagemill("convert", "many").code == 0
    return imagemill.home / "datasets"


@pytest.mark.parametrize("name", COUNTS)
def test_the_bytes_are_those_of_a_local_run(local, down, name):
    (ours,) = (local / name / "versions").iterdir()
    (theirs,) = (down / name / "versions").iterdir()
    manifest = read_manifest(str(ours))
    for file in (MANIFEST, *(entry.name for entry in manifest.entries)):
        assert (theirs / file).read_bytes() == (ours / file).read_bytes(), file


def test_conversion_reads_each_image_once_and_uploads_each_shard_once(asked):
    images = Counter(request.name for request in asked["read"] if request.name.startswith("staging/many/images/"))
    assert len(images) == 5000
    sampled = sum(images.values()) - len(images)
    assert sampled == 1000
    assert max(images.values()) == 2
    uploads = Counter(request.name for request in asked["upload"])
    assert len([name for name in uploads if ".tfrecord-" in name]) == 25
    # Planning writes down who asks, and the conversion by which job it was done.
    again = {name.rpartition("/")[2]: count for name, count in uploads.items() if count != 1}
    assert again == {"run.json": 2}


def test_validation_reads_shards_by_a_handful_of_ranges(asked):
    reads = [request for request in asked["read"] if ".tfrecord-" in request.name]
    # Every shard is scanned, its share of the sample is read, and one shard of each split goes to TensorFlow whole.
    assert len(reads) < 4 * 25
    assert all(request.part for request in reads)


def test_no_step_lists_anything_twice(asked, down):
    pages = Counter((request.name, request.part) for request in asked["list"])
    # `upload_images` finds an empty prefix, `plan_conversion` lists what it needs the checksums of.
    images = [count for (name, _), count in pages.items() if name == "staging/many/images/"]
    assert sum(images) == 1 + 5
    # Elsewhere one page: planning and pruning look at the versions, validating and publishing at the new one.
    others = Counter(name for name, _ in pages.elements() if name != "staging/many/images/")
    # And while the job runs, the looks at its progress, of which there are the more the longer it takes.
    (version,) = (down / "many" / "versions").iterdir()
    seconds = json.loads((version / "run.json").read_text())["job"]["seconds"]
    others[f"datasets/many/versions/{version.name}/"] -= int(seconds // LOOK_EVERY_SECONDS)
    assert set(others.values()) <= {1, 2}


def test_the_pointer_names_the_version_by_its_uri(on_bucket, published, down, in_reach):
    pointer = json.loads((down / "shapes" / "CURRENT").read_text())
    assert published["results"]["publish"]["path"] == f"{OUTPUT}/versions/{pointer['version']}"
    assert on_bucket("path", "shapes").out.strip() == f"{OUTPUT}/versions/{pointer['version']}"
    assert library.current(OUTPUT) == f"{OUTPUT}/versions/{pointer['version']}"


@pytest.mark.parametrize("name", COUNTS)
def test_tfds_and_tensorflow_read_what_came_down(down, name):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    version = Path(library.current(str(down / name)))
    builder = tfds.builder_from_directory(version)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == COUNTS[name]
    assert sum(1 for _ in builder.as_dataset(split="test")) == COUNTS[name]["test"]
    shards = [str(version / shard.name) for shard in read_manifest(str(version)).shards]
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image/encoded", "image/filename")}

    def decode(record):
        example = tf.io.parse_single_example(record, features)
        return example["image/filename"], tf.io.decode_png(example["image/encoded"])

    seen = set()
    for filename, pixels in tf.data.TFRecordDataset(shards).map(decode):
        assert pixels.shape == (32, 32, 3)
        seen.add(filename.numpy())
    assert len(seen) == sum(COUNTS[name].values())


def test_the_reader_opens_it_in_the_bucket(published, in_reach):
    reader = library.RecordReader(library.current(OUTPUT))
    assert len(reader) == 720
    assert reader[7].encoded


def test_a_second_refresh_reads_no_image_and_uploads_nothing(gcs, on_bucket, published):
    gcs.strike()
    again = on_bucket("refresh", "shapes")
    assert again.code == 0, again.err
    assert "nothing changed" in again.out
    assert gcs.seen().get("upload", 0) == 0
    assert gcs.seen()["read"] < 10


def test_a_bucket_that_stays_down_is_a_temporary_fault(gcs, on_bucket, published, monkeypatch):
    monkeypatch.setitem(on_bucket.variables, "IMAGEMILL_STORAGE_DEADLINE_SECONDS", "0.3")
    gcs.strike(Rule(kind="status", status=503, times=-1))
    for arguments in (("sync", OUTPUT, on_bucket.project / "x"), ("versions", "shapes"), ("path", "shapes")):
        ended = on_bucket(*arguments)
        assert ended.code == 3, ended.err
        assert "it continues" in ended.err
    gcs.strike()


def test_no_permission_is_the_callers_mistake(gcs, on_bucket, published):
    gcs.strike(Rule(kind="status", status=403, reason="forbidden", operation="list", times=-1))
    ended = on_bucket("sync", OUTPUT, on_bucket.project / "x")
    gcs.strike()
    assert ended.code == 2
    assert "roles/storage.objectViewer (to write there, too: roles/storage.objectUser) on gs://mill" in ended.err
