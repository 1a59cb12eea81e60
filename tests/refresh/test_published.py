"""The main job as a user has it: `imagemill refresh`, then TensorFlow and TFDS open what was published.

One dataset has CIFAR-10's layout; the other is a folder per class of pictures that nobody here made, one of them torn.
"""

import getpass
import json
from collections import Counter
from pathlib import Path

import pytest

import imagemill as library
from imagemill.catalog import read_manifest
from tests.support.command import SPEC
from tests.support.found_pictures import copy_found_pictures

# TFDS 4.9 calls what protobuf 6 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FOLDER_SPEC = """
name: found
source: {{type: folder, root: {root}}}
splits: {{fractions: {{train: 0.5, test: 0.5}}}}
validation: {{max_rejected: 0.2, min_records_per_label: 0}}
"""


@pytest.fixture(scope="module")
def dots(imagemill):
    imagemill.spec("dots", SPEC)
    return imagemill("refresh", "dots", "--json")


@pytest.fixture(scope="module")
def found(imagemill):
    root = imagemill.project / "pictures"
    assert copy_found_pictures(root) >= 20
    torn = next(root.rglob("*.png"))
    (torn.parent / "torn.png").write_bytes(torn.read_bytes()[:-20])
    imagemill.spec("found", FOLDER_SPEC.format(root=root))
    return imagemill("refresh", "found")


def published(imagemill, name):
    return Path(library.current(str(imagemill.home / "datasets" / name)))


def test_the_summary_for_machines_tells_everything(imagemill, dots):
    assert dots.code == 0, dots.err
    summary = dots.json
    assert (summary["dataset"], summary["state"], summary["failure"]) == ("dots", "success", None)
    assert summary["results"]["publish"]["path"] == str(published(imagemill, "dots"))
    assert [task["task"] for task in summary["tasks"]][-2:] == ["publish", "prune_versions"]


def test_the_summary_for_people_tells_where_things_are(imagemill, found):
    assert found.code == 0, found.err
    manifest = read_manifest(str(published(imagemill, "found")))
    for text in (
        f"published {published(imagemill, 'found').name}",
        f"{manifest.rows:,} rows",
        f"{manifest.records:,} records",
        "1 rejected",
        str(published(imagemill, "found") / "validation.html"),
        "convert_images",
    ):
        assert text in found.out


@pytest.mark.parametrize("name", ["dots", "found"])
def test_every_row_is_accounted_for(imagemill, dots, found, name):
    manifest = read_manifest(str(published(imagemill, name)))
    index = (imagemill.home / "staging" / name / "index.csv").read_text().splitlines()
    assert manifest.rows == len(index) - 1 == manifest.records + manifest.rejected + manifest.duplicates
    assert all(account.balanced for account in manifest.accounts)


@pytest.mark.parametrize("name", ["dots", "found"])
def test_tfds_and_tensorflow_read_every_image_as_it_was(imagemill, dots, found, name):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    version = published(imagemill, name)
    staged = imagemill.home / "staging" / name / "images"
    manifest = read_manifest(str(version))
    builder = tfds.builder_from_directory(version)
    for split, info in builder.info.splits.items():
        shards = [shard for shard in manifest.shards if shard.split == split]
        labels = Counter(
            int(example["image"]["class"]["label"]) for example in builder.as_dataset(split=split).as_numpy_iterator()
        )
        assert labels == sum((Counter(shard.labels) for shard in shards), Counter())
        assert info.num_examples == labels.total()
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image/encoded", "image/filename")}
    read = 0
    for record in tf.data.TFRecordDataset([str(version / shard.name) for shard in manifest.shards]):
        example = tf.io.parse_single_example(record, features)
        source = staged / example["image/filename"].numpy().decode()
        assert example["image/encoded"].numpy() == source.read_bytes()
        assert tf.io.decode_image(example["image/encoded"]).shape.rank in (3, 4)
        read += 1
    assert read == manifest.records


@pytest.mark.parametrize("name", ["dots", "found"])
def test_croissant_describes_it_without_a_fault(imagemill, dots, found, name):
    import mlcroissant

    version = published(imagemill, name)
    dataset = mlcroissant.Dataset(version / "croissant.json")
    assert dataset.metadata.ctx.issues.errors == set()
    assert (version / "README.md").is_file()


def test_the_history_names_the_run_and_the_user_that_published(imagemill, dots):
    (entry,) = imagemill("history", "dots", "--json").json["history"]
    version = published(imagemill, "dots")
    assert entry["version"] == version.name
    assert entry["by"] == json.loads((version / "run.json").read_text())["requested_by"] == getpass.getuser()
    assert entry["run"].startswith("refresh_dots ")


def test_the_reader_of_the_readme_opens_it(imagemill, dots):
    reader = library.RecordReader(str(published(imagemill, "dots")))
    staged = imagemill.home / "staging" / "dots" / "images"
    assert len(reader) == 50
    assert all(record.encoded == (staged / record.key).read_bytes() for record in reader)


def test_a_second_refresh_says_that_nothing_changed(imagemill, dots):
    before = published(imagemill, "dots")
    again = imagemill("refresh", "dots")
    assert again.code == 0, again.err
    assert "nothing changed" in again.out
    assert published(imagemill, "dots") == before
    assert len(imagemill("versions", "dots", "--json").json["versions"]) == 1


def test_an_account_that_does_not_balance_stops_the_run(imagemill, dots):
    """Loses a row on purpose, after the conversion: the gate must see it, and CURRENT must stay."""
    before = published(imagemill, "dots")
    candidate = imagemill("convert", "dots", "--force", "--json").json["version_uri"]
    path = Path(candidate) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["accounts"][0]["rows"] += 1
    path.write_text(json.dumps(manifest))
    verified = imagemill("verify", candidate)
    assert verified.code == 1
    assert "accounting" in verified.out
    assert imagemill("publish", "dots", Path(candidate).name).code == 1
    assert published(imagemill, "dots") == before
