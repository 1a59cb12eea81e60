"""The code of docs/train.md runs, in order, on a real version."""

import hashlib
import json
import pickle
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from imagemill.manifest import MANIFEST
from imagemill.rows import Row
from tests.support.versions import build_version, stage

PAGE = Path(__file__).parents[2] / "docs/train.md"
BLOCKS = re.findall(r"^```python ?(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
CORE = [code for needs, code in BLOCKS if not needs]
TENSORFLOW = [code for needs, code in BLOCKS if needs == "tensorflow"]
TORCH = [code for needs, code in BLOCKS if needs == "torch"]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A dataset's folder with a published version."""
    output = tmp_path_factory.mktemp("pets")
    splits = ("train", "test")
    rows = [Row(f"{number}.png", ("cat", "dog")[number % 2], splits[number % 5 == 0]) for number in range(40)]
    version = output / "versions" / "20260101T000000Z-abababab"
    images = output / "images"
    build_version(
        version, images, stage(images, rows), labels=("cat", "dog"), dataset="pets", shards={"train": 2, "test": 1}
    )
    digest = hashlib.sha256((version / MANIFEST).read_bytes()).hexdigest()
    (output / "CURRENT").write_text(json.dumps({"version": version.name, "manifest_sha256": digest}))
    return str(output)


def run(blocks, output):
    names = {"OUTPUT": output, "__name__": "training"}
    for code in blocks:
        exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_every_block_is_of_a_known_kind():
    assert (len(CORE), len(TENSORFLOW), len(TORCH)) == (3, 2, 1)
    assert len(CORE + TENSORFLOW + TORCH) == len(BLOCKS)


def test_what_needs_no_framework(output):
    names = run(CORE, output)
    assert names["path"].endswith("20260101T000000Z-abababab")
    assert len(names["reader"]) == 32
    assert len(names["cats"]) == 16
    train = names["train"]
    image, label = train[5]
    assert len(train) == 32
    assert image.size == (names["reader"][5].width, names["reader"][5].height)
    assert label == names["reader"][5].label
    names["Images"].__module__ = __name__  # what a training script's class has: a module that workers import
    globals()["Images"] = names["Images"]
    assert pickle.loads(pickle.dumps(train))[5][1] == label


@pytest.mark.filterwarnings("ignore:.*label\\(\\) is deprecated:DeprecationWarning")  # TFDS calls an old protobuf name
def test_tensorflow_reads_what_the_page_says(output):
    pytest.importorskip("tensorflow")
    names = run([*CORE[:1], *TENSORFLOW], output)
    assert names["names"] == ["cat", "dog"]
    found = sorted(int(label) for _, label in names["train"])
    assert found == [0] * 16 + [1] * 16


@pytest.mark.parametrize("code", TORCH)
def test_pytorch_loads_what_the_page_says(output, code):
    compile(code, str(PAGE), "exec")
    if find_spec("torch") and find_spec("torchvision"):  # neither is needed here: the class itself is tested above
        loader = run([*CORE, code], output)["loader"]
        assert sum(len(labels) for _, labels in loader) == 32
