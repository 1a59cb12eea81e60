"""Bad input through the whole refresh: the right exit code, the reason, and CURRENT where it was."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import pytest

from imagemill.catalog import Catalog, read_manifest
from tests.support.conversions import picture


class Runs:
    """A pickle that creates a file when it is loaded carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def spec(imagemill, source, *, splits="fractions: {train: 1.0}", more=""):
    imagemill.spec("cats", f"name: cats\nsource: {source}\nsplits: {{{splits}}}\n{more}")


def current(imagemill):
    return Catalog(str(imagemill.home / "datasets" / "cats")).current()


@pytest.fixture(scope="module")
def published(imagemill):
    """A good version, so that there is something to lose."""
    folder = imagemill.project / "good"
    (folder / "cat").mkdir(parents=True)
    for number in range(6):
        (folder / "cat" / f"{number}.png").write_bytes(picture(number))
    spec(imagemill, f"{{type: folder, root: {folder}}}")
    ended = imagemill("refresh", "cats")
    assert ended.code == 0, ended.err
    return current(imagemill)


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def missing(folder):
    return f"{{type: cifar, archive: {folder}/nowhere.tar.gz}}", "nowhere.tar.gz"


def corrupt(folder):
    path = archive(folder / "corrupt.tar.gz", {"batches.meta": bytes(5000)})
    path.write_bytes(path.read_bytes()[:-40])
    return f"{{type: cifar, archive: {path}}}", "corrupt.tar.gz"


def other_checksum(folder):
    path = archive(folder / "other.tar.gz", {"batches.meta": b"x"})
    return f"{{type: cifar, archive: {path}, sha256: {'ab' * 32}}}", "sha256"


def hostile(folder):
    path = archive(folder / "hostile.tar.gz", {"batches.meta": pickle.dumps(Runs(folder / "ran"), 2)})
    return f"{{type: cifar, archive: {path}}}", "batches.meta"


def empty(folder):
    (folder / "empty").mkdir()
    return f"{{type: folder, root: {folder}/empty}}", "empty"


@pytest.mark.parametrize("make", [missing, corrupt, other_checksum, hostile, empty])
def test_a_source_that_is_no_source_is_the_callers_mistake(imagemill, published, tmp_path, make):
    source, says = make(tmp_path)
    spec(imagemill, source, splits="names: [train, test]" if "cifar" in source else "fractions: {train: 1.0}")
    ended = imagemill("refresh", "cats")
    assert ended.code == 2, ended.err
    assert "failed in prepare_images" in ended.out
    assert says in ended.out
    assert not (tmp_path / "ran").exists()
    assert current(imagemill) == published


def test_an_output_that_is_a_file_is_the_callers_mistake(imagemill, published):
    (imagemill.project / "occupied").write_text("a file")
    good = imagemill.project / "good"
    spec(imagemill, f"{{type: folder, root: {good}}}", more=f"locations: {{output: {imagemill.project}/occupied/x}}\n")
    ended = imagemill("refresh", "cats")
    assert ended.code == 2, ended.err
    assert "occupied" in ended.out


@pytest.fixture(scope="module")
def dirty(imagemill):
    """An index with one row of every kind that is the data's fault."""
    folder = imagemill.project / "dirty"
    folder.mkdir()
    rows = [f"{number}.png,cat" for number in range(9)]
    for number in range(10):
        (folder / f"{number}.png").write_bytes(picture(number))
    (folder / "text.png").write_text("not an image")
    rows += ["only-a-name.png", "text.png,cat", "5.png,cat", "4.png,dog", "9.png,unheard-of", "gone.png,cat"]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return f"{{type: index, index: {folder}/labels.csv}}"


def test_rows_over_the_budget_fail_the_run(imagemill, published, dirty):
    spec(imagemill, dirty, more="labels: {names: [cat, dog]}\nvalidation: {min_records_per_label: 0}\n")
    ended = imagemill("refresh", "cats")
    assert ended.code == 1, ended.err
    assert "rejected_share" in ended.out
    assert current(imagemill) == published


def test_rows_within_the_budget_are_counted_rejects(imagemill, published, dirty):
    budget = "validation: {min_records_per_label: 0, max_rejected: 0.8}\n"
    spec(imagemill, dirty, more="labels: {names: [cat, dog]}\n" + budget)
    ended = imagemill("refresh", "cats")
    assert ended.code == 0, ended.err
    manifest = read_manifest(current(imagemill).uri)
    assert (manifest.rows, manifest.records, manifest.duplicates) == (15, 8, 1)
    assert manifest.reject_reasons == {
        "bad_row": 1,
        "duplicate_key": 2,
        "missing": 1,
        "not_an_image": 1,
        "unknown_label": 1,
    }
