"""`imagemill diff` as people and scripts use it."""

import pytest

from tests.support.gate import LATER, VERSION, build, toys
from tests.support.versions import picture


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    root = tmp_path_factory.mktemp("versions")
    images = toys()
    before = build(root, images)
    (changed, _), (gone, _), *_ = images.items()
    images[changed] = picture(999)
    del images[gone]
    return before.folder, build(root, images, version=LATER, shards=3).folder, changed.filename, gone.filename


def test_it_tells_what_changed(imagemill, versions):
    before, after, changed, gone = versions
    ended = imagemill("diff", before, after)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(
        f"{VERSION} → {LATER}: 60 records before, 59 after\n0 added, 1 removed, 0 renamed, 1 with other bytes"
    )
    assert f"  {changed} (train, cat)\n" in ended.out
    assert f"  {gone} (train, dog)\n" in ended.out
    assert "train/dog: 15 → 14; 1 removed" in ended.out


def test_its_json_is_for_machines(imagemill, versions):
    before, after, changed, _ = versions
    found = imagemill("diff", before, after, "--json").json
    assert (found["total"]["removed"], found["unchanged"]) == (1, 58)
    assert found["examples"]["changed"][0]["key"] == changed


def test_equal_versions_have_no_difference(imagemill, versions):
    assert "no difference" in imagemill("diff", versions[0], versions[0]).out


def test_what_is_no_version_is_named(imagemill, versions, tmp_path):
    ended = imagemill("diff", versions[0], tmp_path)
    assert (ended.code, "it is no version" in ended.err) == (1, True)
