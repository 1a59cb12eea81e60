"""What the memory of a plan saves, and what it must never hide."""

import pytest

from imagemill.conversion.planning import plan_conversion
from imagemill.manifest import parse_manifest
from imagemill.plan import ConversionSettings
from imagemill.spec import Shards
from imagemill.steps import plan_memory
from imagemill.steps.plan_memory import plan_once
from tests.support.gate import build, toys


@pytest.fixture
def question(tmp_path):
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
    monkeypatch.setattr(plan_memory, "plan_conversion", lambda **facts: calls.append(1) or plan_conversion(**facts))
    return calls


def test_the_same_question_is_answered_from_memory(tmp_path, question, counted):
    first = plan_once(tmp_path / "work" / "planned.json", **question)
    assert first == plan_conversion(**question)
    assert plan_once(tmp_path / "work" / "planned.json", **question) == first
    assert len(counted) == 1


def other_image(question, tmp_path):
    next((tmp_path).rglob("00003.png")).write_bytes(b"other")


def other_index(question, tmp_path):
    (tmp_path / "index.csv").write_text("00003.png,cat,train\n")


def other_labels(question, tmp_path):
    (tmp_path / "labels.txt").write_text("owl\ndog\ncat\n")
    question["published"] = None


def without_labels(question, tmp_path):
    (tmp_path / "labels.txt").unlink()


CHANGES = [
    other_image,
    other_index,
    other_labels,
    without_labels,
    lambda question, _: question.update(dataset="toons"),
    lambda question, _: question.update(declared_labels=("cat", "dog", "owl", "yak")),
    lambda question, _: question.update(published=None),
    lambda question, _: question.update(limit=3),
    lambda question, _: question.update(shards=Shards(count={"train": 7})),
    lambda question, _: question.update(
        settings=ConversionSettings(split_fractions={}, split_names=("train", "test"), verification="decode")
    ),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_a_plan_is_part_of_the_question(tmp_path, question, counted, change):
    plan_once(tmp_path / "planned.json", **question)
    change(question, tmp_path)
    assert plan_once(tmp_path / "planned.json", **question) == plan_conversion(**question)
    assert len(counted) == 2


def test_the_order_of_the_splits_is_part_of_the_question(tmp_path, question, counted):
    for fractions in ({"train": 0.5, "test": 0.5}, {"test": 0.5, "train": 0.5}):
        question["settings"] = ConversionSettings(split_fractions=fractions)
        assert plan_once(tmp_path / "planned.json", **question) == plan_conversion(**question)
    assert len(counted) == 2


def test_a_change_while_it_counts_is_not_remembered(tmp_path, question, monkeypatch):
    def and_then(**facts):
        plan = plan_conversion(**facts)
        other_image(question, tmp_path)
        return plan

    with monkeypatch.context() as patch:
        patch.setattr(plan_memory, "plan_conversion", and_then)
        plan_once(tmp_path / "planned.json", **question)
    assert not (tmp_path / "planned.json").exists()


@pytest.mark.parametrize("text", ["", "{}", "no memory"])
def test_a_damaged_memory_is_none(tmp_path, question, text):
    expected = plan_once(tmp_path / "planned.json", **question)
    (tmp_path / "planned.json").write_text(text)
    assert plan_once(tmp_path / "planned.json", **question) == expected


def test_without_a_memory_nothing_is_kept(tmp_path, question, counted):
    plan_once(None, **question)
    plan_once(None, **question)
    assert len(counted) == 2
