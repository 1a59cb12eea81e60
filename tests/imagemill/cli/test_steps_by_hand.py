"""A refresh by hand, one command a step: prepare, sync, convert, verify, validate, publish."""

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tree(imagemill):
    assert imagemill("prepare", "dots").code == 0
    return imagemill.home / "work" / "dots" / "tree"


@pytest.fixture(scope="module")
def staging(imagemill, tree):
    staging = imagemill.home / "staging" / "dots"
    assert imagemill("sync", tree, staging).code == 0
    return staging


@pytest.fixture(scope="module")
def candidate(imagemill, staging):
    ended = imagemill("convert", "dots", "--json")
    assert ended.code == 0, ended.err
    return Path(ended.json["version_uri"])


def test_sync_prints_its_plan_and_then_has_nothing_left_to_do(imagemill, tree, staging):
    elsewhere = imagemill.project / "elsewhere"
    plan = imagemill("sync", tree, elsewhere, "--dry-run")
    assert "index.csv" in plan.out
    assert "would copy 52" in plan.out
    assert not elsewhere.exists()
    again = imagemill("sync", tree, staging, "--json")
    assert (again.json["copied"], again.json["unchanged"]) == (0, 52)


def test_a_candidate_is_listed_with_what_it_lacks(imagemill, candidate):
    (info,) = imagemill("versions", "dots", "--json").json["versions"]
    assert (info["version"], info["current"], info["records"]) == (candidate.name, False, 50)
    assert "validat" in info["obstacle"]
    assert info["obstacle"] in imagemill("versions", "dots").out


def test_the_record_of_a_version_names_the_job_that_converted_it(candidate):
    job = json.loads((candidate / "run.json").read_text())["job"]
    assert (job["runner"], job["id"]) == ("local", "")
    assert job["seconds"] > 0


def test_converting_again_finds_the_candidate(imagemill, candidate):
    again = imagemill("convert", "dots", "--json")
    assert (again.json["version"], again.json["converted"]) == (candidate.name, True)


def test_an_unvalidated_version_is_not_published(imagemill, candidate):
    ended = imagemill("publish", "dots", candidate.name)
    assert ended.code == 1
    assert "validat" in ended.err
    assert imagemill("path", "dots").code == 2


def test_verify_passes_the_candidate_and_catches_a_flipped_bit(imagemill, candidate, staging):
    good = imagemill("verify", candidate, "--against", staging / "images", "--sample", "5")
    assert good.code == 0, good.out
    assert "sample: 5 of 50; a defect in 0.5% is in it with a chance of 10.0%" in good.out
    spoilt = imagemill.project / "spoilt" / candidate.name
    shutil.copytree(candidate, spoilt)
    shard = next(spoilt.glob("*.tfrecord-00001-*"))
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    bad = imagemill("verify", spoilt)
    assert bad.code == 1
    assert shard.name in bad.out
    assert not (candidate / "validation.json").exists(), "verify writes nothing"


def test_a_dataset_is_no_version_before_anything_is_published_either(imagemill, candidate):
    ended = imagemill("verify", candidate.parents[1])
    assert ended.code == 2
    assert "holds a dataset, not one version of it" in ended.err


def test_inspect_shows_and_saves_records(imagemill, candidate, staging):
    shard = next(candidate.glob("*.tfrecord-00000-*"))
    saved = imagemill.project / "saved"
    ended = imagemill("inspect", shard, "-n", "2", "--save-images", saved, "--json")
    assert len(ended.json["records"]) == 2
    for record, path in zip(ended.json["records"], ended.json["saved"], strict=True):
        assert Path(path).read_bytes() == (staging / "images" / record["image/filename"]).read_bytes()
    key = ended.json["records"][1]["image/filename"]
    assert key in imagemill("inspect", shard, "--key", key).out


def test_inspect_prints_the_records_before_a_damaged_one(imagemill, candidate):
    shard = next(candidate.glob("*.tfrecord-00000-*"))
    offsets = [record["offset"] for record in imagemill("inspect", shard, "-n", "4", "--json").json["records"]]
    data = bytearray(shard.read_bytes())
    data[offsets[3] + 40] ^= 1
    damaged = imagemill.project / "damaged"
    damaged.write_bytes(data)
    ended = imagemill("inspect", damaged, "--json")
    assert ended.code == 1
    assert [record["offset"] for record in ended.json["records"]] == offsets[:3]
    assert f"damaged: byte offset {offsets[3]}" in ended.err


def test_converts_an_index_without_a_spec(imagemill, tree):
    out = imagemill.project / "loose"
    ended = imagemill(
        *("convert", "--index", tree / "index.csv", "--images", tree / "images", "--output", out),
        *("--dataset", "loose", "--split", "train=0.5", "--split", "test=0.5", "--limit", "10", "--json"),
    )
    assert ended.code == 0, ended.err
    assert (ended.json["rows"], ended.json["limited"]) == (10, True)
    assert (Path(ended.json["version_uri"]) / "manifest.json").exists()


def test_a_candidate_that_was_validated_by_hand_is_published_by_hand(imagemill, candidate):
    assert imagemill("validate", "dots", "20990101T000000Z-00000000").code == 2
    good = imagemill("validate", "dots", candidate.name)
    assert good.code == 0, good.err
    assert f"{candidate.name} passed: 50 records, 20 of them read back" in good.out
    assert imagemill("publish", "dots", candidate.name).code == 0
    assert imagemill("path", "dots").out.strip() == str(candidate)
    assert imagemill("validate", "dots", candidate.name, "--json").json["records"] == 50
