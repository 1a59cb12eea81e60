"""Whole refreshes of a source that changes: what is right is published, what is wrong is stopped and explained.

The runs share one home; each goes on where the one before it ended.
"""

import json

import pytest

from imagemill.rows import Row
from tests.support.gate import toys
from tests.support.versions import picture

SPEC = """
name: toys
source: {{type: index, index: {folder}/labels.csv, images: {folder}/images}}
splits: {{names: [train, test]}}
conversion: {{shards: {{count: {{train: 2, test: 1}}}}}}
validation: {{sample: 50}}
"""


class Source:
    def __init__(self, folder):
        self.folder = folder
        self.put(toys(200))

    def put(self, images):
        """Makes the source these images and no others."""
        for row, data in images.items():
            path = self.folder / "images" / row.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        rows = "".join(f"{row.filename},{row.label},{row.split}\n" for row in images)
        (self.folder / "labels.csv").write_text(rows)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def changed():
    """One image in a hundred has other bytes."""
    images = toys(200)
    return images | {row: picture(1_000 + number) for number, row in enumerate(list(images)[50:52])}


@pytest.fixture(scope="module")
def published(imagemill, source, changed):
    """The images as they were, and then the changed ones, both published by refreshes."""
    imagemill.spec("toys", SPEC.format(folder=source.folder))
    first = imagemill("refresh", "toys", "--json")
    assert first.code == 0, first.err
    source.put(changed)
    second = imagemill("refresh", "toys", "--json")
    assert second.code == 0, second.err
    return second.json["results"]["publish"]


def current(imagemill):
    return (imagemill.home / "datasets" / "toys" / "CURRENT").read_bytes()


def test_one_percent_changed_is_published_with_the_right_diff(imagemill, published, changed):
    assert json.loads(current(imagemill))["version"] == published["version"]
    diff = imagemill("diff", f"{published['path']}/../{published['previous']}", published["path"], "--json").json
    stored = json.loads((imagemill.home / "datasets/toys/versions" / published["version"] / "diff.json").read_bytes())
    for told in (diff, stored):
        assert (told["total"]["changed"], told["unchanged"]) == (2, 198)
        assert (told["total"]["added"], told["total"]["removed"], told["total"]["relabelled"]) == (0, 0, 0)
        assert {example["key"] for example in told["examples"]["changed"]} == {"00050.png", "00051.png"}


def swapped(images):
    """The labels of two classes are exchanged."""
    other = {"cat": "dog", "dog": "cat"}
    return {Row(row.filename, other.get(row.label, row.label), row.split): data for row, data in images.items()}


def halved(images):
    return dict(list(images.items())[::2])


@pytest.mark.parametrize(
    ("wrong", "check", "says"),
    [
        pytest.param(swapped, "relabelled", "labels were swapped", id="labels swapped"),
        pytest.param(halved, "row_drift", "cut short", id="half gone"),
    ],
)
def test_what_is_wrong_is_stopped_by_the_right_check_with_advice(
    imagemill, published, changed, source, wrong, check, says
):
    before = current(imagemill)
    source.put(wrong(changed))
    stopped = imagemill("refresh", "toys", "--json")
    assert stopped.code == 1
    failure = stopped.json["failure"]
    assert (failure["task"], failure["family"]) == ("validate_records", "data")
    assert "failed 1 of" in failure["message"]
    assert f"- {check}: " in failure["message"]
    assert says in failure["message"]
    assert current(imagemill) == before
    candidate, listed, _ = imagemill("versions", "toys", "--json").json["versions"][:3]
    assert candidate["verdict"] == "failed"
    assert check in candidate["obstacle"]
    assert not candidate["current"]
    assert listed["version"]


def test_back_to_what_was_published_nothing_is_done(imagemill, published, changed, source):
    source.put(changed)
    again = imagemill("refresh", "toys", "--json")
    assert again.code == 0
    assert again.json["results"]["plan_conversion"]["action"] == "unchanged"
    states = {task["task"]: task["state"] for task in again.json["tasks"]}
    done = {"prepare_images", "upload_images", "plan_conversion"}
    assert states == {task: "success" if task in done else "skipped" for task in states}


FOLDERS = """
name: folders
source: {{type: folder, root: {root}, layout: split}}
splits: {{names: [train, test]}}
conversion: {{shards: {{count: {{train: 2, test: 1}}}}}}
validation: {{sample: 50}}
"""


def test_class_folders_that_were_exchanged_are_stopped(imagemill, tmp_path):
    for row, data in toys(120).items():
        path = tmp_path / row.split / row.label / row.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    imagemill.spec("folders", FOLDERS.format(root=tmp_path))
    first = imagemill("refresh", "folders", "--json")
    assert first.code == 0, first.err
    pointer = imagemill.home / "datasets" / "folders" / "CURRENT"
    published = pointer.read_bytes()
    for split in ("train", "test"):
        (tmp_path / split / "cat").rename(tmp_path / split / "was")
        (tmp_path / split / "dog").rename(tmp_path / split / "cat")
        (tmp_path / split / "was").rename(tmp_path / split / "dog")
    stopped = imagemill("refresh", "folders", "--json")
    assert stopped.code == 1
    message = stopped.json["failure"]["message"]
    assert "failed 1 of" in message
    assert "- relabelled: 80 of 120 images have another label" in message
    assert "class folders were exchanged" in message
    assert pointer.read_bytes() == published
