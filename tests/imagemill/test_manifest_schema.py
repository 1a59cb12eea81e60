import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from imagemill.manifest import Account, FileEntry, Manifest, ShardEntry, manifest_schema

COMMITTED = Path(__file__).parents[2] / "docs/manifest.schema.json"
FILE = FileEntry(name="labels.txt", bytes=4, crc32c="0123abcd")
MANIFEST = Manifest(
    dataset="pets",
    fingerprint="f00d",
    labels=["cat"],
    accounts=[Account(split="train", label="cat", rows=3, records=1, rejected=1, duplicates=1)],
    reject_reasons={"missing": 1},
    shards=[
        ShardEntry(name="s", bytes=9, crc32c="00000000", split="train", records=1, labels={0: 1}, index=FILE),
    ],
    files=[FILE],
)


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(manifest_schema())
    return jsonschema.Draft202012Validator(manifest_schema())


def test_the_committed_schema_is_current():
    command = [sys.executable, "-m", "imagemill.manifest_schema"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert COMMITTED.read_text() == printed, "run: python -m imagemill.manifest_schema > docs/manifest.schema.json"


def test_a_manifest_fits_its_schema(validator):
    assert list(validator.iter_errors(json.loads(MANIFEST.to_json()))) == []


@pytest.mark.parametrize("gone", list(json.loads(MANIFEST.to_json())))
def test_every_field_is_promised(validator, gone):
    manifest = json.loads(MANIFEST.to_json())
    del manifest[gone]
    assert not validator.is_valid(manifest)


def test_what_is_no_manifest(validator):
    manifest = json.loads(MANIFEST.to_json())
    assert not validator.is_valid({**manifest, "host": "here"})
    assert not validator.is_valid({**manifest, "files": [{**manifest["files"][0], "crc32c": "zz"}]})
