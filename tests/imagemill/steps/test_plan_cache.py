"""What a cached plan saves, and what it must never hide."""

import pytest

from imagemill.conversion.planning import plan_conversion
from imagemill.manifest import parse_manifest
from imagemill.plan import ConversionSettings
from imagemill.spec import Shards
from imagemill.steps import plan_cache
from imagemill.steps.plan_cache import cached_plan
from tests.support.gate import build, toys


def published(tmp_path, *, shards):
    version = build(tmp_path, toys(30), version=f"20260101T000000Z-{shards:08x}", shards=shards)
    return parse_manifest((version.folder / "manifest.json").read_bytes(), where="m")


@pytest.fixture
def inputs(tmp_path):
    version = build(tmp_path, toys(30))
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    return {
        "dataset": "toys",
        "index_uri": str(tmp_path / "index.csv"),
        "images_uri": str(version.images),
        "labels_uri": str(tmp_path / "labels.txt"),
        "declared_labels": (),
        "settings": ConversionSettings(split_fractions={}, split_names=("train", "test")),
        "shards": Shards(),
        "published": parse_manifest((version.folder / "manifest.json").read_bytes(), where="m"),
        "limit": None,
    }


@pytest.fixture
def counted(monkeypatch):
    calls = []
    monkeypatch.setattr(plan_cache, "plan_conversion", lambda **facts: calls.append(1) or plan_conversion(**facts))
    return calls


def test_the_same_question_is_answered_from_memory(tmp_path, inputs, counted):
    first = cached_plan(tmp_path / "work" / "planned.json", **inputs)
    assert first == plan_conversion(**inputs)
    assert cached_plan(tmp_path / "work" / "planned.json", **inputs) == first
    assert len(counted) == 1


def test_the_version_that_a_plan_became_makes_nobody_count_again(tmp_path, inputs, counted):
    inputs["published"] = None
    first = cached_plan(tmp_path / "planned.json", **inputs)
    inputs["published"] = published(tmp_path, shards=1)
    assert cached_plan(tmp_path / "planned.json", **inputs) == plan_conversion(**inputs) == first
    assert len(counted) == 1


def other_image(inputs, tmp_path):
    next((tmp_path).rglob("00003.png")).write_bytes(b"other")


def other_index(inputs, tmp_path):
    (tmp_path / "index.csv").write_text("00003.png,cat,train\n")


def other_labels(inputs, tmp_path):
    (tmp_path / "labels.txt").write_text("owl\ndog\ncat\n")
    inputs["published"] = None


def without_labels(inputs, tmp_path):
    (tmp_path / "labels.txt").unlink()


CHANGES = [
    other_image,
    other_index,
    other_labels,
    without_labels,
    lambda inputs, _: inputs.update(dataset="toons"),
    lambda inputs, _: inputs.update(declared_labels=("cat", "dog", "owl", "yak")),
    lambda inputs, _: inputs.update(published=None),
    lambda inputs, tmp_path: inputs.update(published=published(tmp_path, shards=3)),
    lambda inputs, _: inputs["published"].labels.append("yak"),
    lambda inputs, _: inputs.update(limit=3),
    lambda inputs, _: inputs.update(shards=Shards(count={"train": 7})),
    lambda inputs, _: inputs.update(
        settings=ConversionSettings(split_fractions={}, split_names=("train", "test"), verification="decode")
    ),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_a_plan_is_part_of_the_question(tmp_path, inputs, counted, change):
    cached_plan(tmp_path / "planned.json", **inputs)
    change(inputs, tmp_path)
    assert cached_plan(tmp_path / "planned.json", **inputs) == plan_conversion(**inputs)
    assert len(counted) == 2


def test_the_order_of_the_splits_is_part_of_the_question(tmp_path, inputs, counted):
    for fractions in ({"train": 0.5, "test": 0.5}, {"test": 0.5, "train": 0.5}):
        inputs["settings"] = ConversionSettings(split_fractions=fractions)
        assert cached_plan(tmp_path / "planned.json", **inputs) == plan_conversion(**inputs)
    assert len(counted) == 2


def test_a_change_while_it_counts_is_not_remembered(tmp_path, inputs, monkeypatch):
    def and_then(**facts):
        plan = plan_conversion(**facts)
        other_image(inputs, tmp_path)
        return plan

    with monkeypatch.context() as patch:
        patch.setattr(plan_cache, "plan_conversion", and_then)
        cached_plan(tmp_path / "planned.json", **inputs)
    assert not (tmp_path / "planned.json").exists()


@pytest.mark.parametrize("text", ["", "{}", "no memory"])
def test_a_damaged_memory_is_none(tmp_path, inputs, text):
    expected = cached_plan(tmp_path / "planned.json", **inputs)
    (tmp_path / "planned.json").write_text(text)
    assert cached_plan(tmp_path / "planned.json", **inputs) == expected


def test_without_a_memory_nothing_is_kept(tmp_path, inputs, counted):
    cached_plan(None, **inputs)
    cached_plan(None, **inputs)
    assert len(counted) == 2
