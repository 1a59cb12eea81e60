"""Croissant's own library reads what we write; the dataset card says what the manifest says."""

import json
from pathlib import Path

import mlcroissant
import pytest

from imagemill import steps
from imagemill.manifest import MANIFEST, Manifest
from imagemill.spec import About, DatasetSpec
from imagemill.spec.file import load_spec
from imagemill.version.croissant import CROISSANT, croissant
from imagemill.version.dataset_card import CARD
from tests.support.gate import VERSION, build, failed, judge, toys

# mlcroissant 1.1 calls what rdflib 7 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EVIL = "<b>|`owl`"
ABOUT = {"license": "CC0-1.0", "citation": "Nobody, Toys, 2026", "homepage": "https://example.org", "creator": "Nobody"}


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    root = tmp_path_factory.mktemp("output")
    return build(root, toys(labels=("cat", "dög", EVIL)), labels=["cat", "dög", EVIL])


@pytest.fixture(scope="module")
def spec(version):
    root = version.folder.parents[1]
    return DatasetSpec.model_validate(
        {
            "name": "toys",
            "description": "Toys, drawn here.",
            "about": ABOUT,
            "source": {
                "type": "index",
                "index": str(version.images.parent / "index.csv"),
                "images": str(version.images),
            },
            "locations": {"staging": str(root / "staging"), "output": str(root / "out"), "work": str(root / "work")},
        }
    )


@pytest.fixture(scope="module")
def described(version, spec):
    steps.write_descriptions(spec, str(version.folder), VERSION)
    return version.folder


def test_mlcroissant_finds_no_fault(described):
    dataset = mlcroissant.Dataset(described / CROISSANT)
    assert (dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.warnings) == (set(), set())
    assert dataset.metadata.name == "toys"
    assert VERSION in dataset.metadata.description


def test_mlcroissant_loads_labels_splits_and_shards(described):
    dataset = mlcroissant.Dataset(described / CROISSANT)
    manifest = Manifest.model_validate_json((described / MANIFEST).read_bytes())
    labels = [text(record["labels/name"]) for record in dataset.records("labels")]
    assert labels == ["cat", "dög", EVIL]
    splits = {text(record["splits/name"]): record["splits/records"] for record in dataset.records("splits")}
    assert splits == {"test": 15, "train": 45}
    shards = [(text(r["shards/name"]), r["shards/records"], text(r["shards/index"])) for r in dataset.records("shards")]
    assert shards == [(shard.name, shard.records, shard.index.name) for shard in manifest.shards]


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def test_what_nobody_has_written_is_a_warning_at_most(version, spec, tmp_path):
    data = (version.folder / MANIFEST).read_bytes()
    plain = spec.model_copy(update={"about": About(), "description": ""})
    manifest = Manifest.model_validate_json(data)
    (tmp_path / CROISSANT).write_bytes(croissant(plain, version=VERSION, manifest=manifest, manifest_bytes=data))
    (tmp_path / MANIFEST).write_bytes(data)
    assert mlcroissant.Dataset(tmp_path / CROISSANT).metadata.ctx.issues.errors == set()


def test_both_are_the_same_bytes_every_time_and_no_foreign_objects(described, version, spec):
    before = [(described / name).read_bytes() for name in (CROISSANT, CARD)]
    steps.write_descriptions(spec, str(version.folder), VERSION)
    assert [(described / name).read_bytes() for name in (CROISSANT, CARD)] == before
    assert failed(judge(version)) == set()
    assert str(version.folder) not in json.dumps([data.decode() for data in before])


def test_the_card_tells_what_there_is(described):
    card = (described / CARD).read_text()
    for told in (
        "# toys\n\nToys, drawn here.",
        "| train | 45 | 2 |",
        "60 input rows became 60 records; 0 were rejected, 0 were duplicates",
        "| 2 | &lt;b&gt;\\|\\`owl\\` | 20 |",
        "8 to 10 pixels wide, 8 to 8 high",
        "- License: CC0-1.0",
        "tfds.builder_from_directory",
    ):
        assert told in card


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_shipped_specs_say_where_their_images_are_from(name):
    path = Path(__file__).parents[3] / "dags" / "datasets" / f"{name}.yaml"
    assert load_spec(path, environment={}).about.homepage
