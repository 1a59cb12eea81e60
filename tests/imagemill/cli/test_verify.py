"""`imagemill verify` on what it can meet: an exit code, a named finding or a clear error, and what to do next."""

import sys
from pathlib import Path

import pytest

from imagemill.catalog import Catalog
from imagemill.cli import main
from imagemill.manifest import MANIFEST
from imagemill.quality.validate import write_report
from imagemill.rows import Row
from tests.support.gate import build, judge, toys
from tests.support.tampering import edit_manifest, flip_bit, index_of, shard
from tests.support.versions import picture


@pytest.fixture
def verify(monkeypatch, capsys):
    """Runs the command where TensorFlow is not installed: it takes seconds to import, and has tests of its own."""
    monkeypatch.setattr("imagemill.quality.readers.find_spec", lambda name: None)

    def run(uri):
        monkeypatch.setattr(sys, "argv", ["imagemill", "verify", str(uri)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out + told.err

    return run


def cut(version, name):
    path = version.folder / name
    path.write_bytes(path.read_bytes()[:-9])


def flip(version, name, text):
    flip_bit(version, name, (version.folder / name).read_bytes().index(text))


BAD = [
    pytest.param(lambda v: (v.folder / shard(v)).unlink(), 1, "failed   shards_present", "onvert", id="missing shard"),
    pytest.param(
        lambda v: (v.folder / "labels.txt").unlink(), 1, "failed   shards_present", "onvert", id="missing file"
    ),
    pytest.param(
        lambda v: (v.folder / "toys-train.tfrecord-00007-of-00009").write_bytes(b"x"),
        1,
        "failed   shards_present",
        "onvert",
        id="extra shard",
    ),
    pytest.param(
        lambda v: (v.folder / "notes.docx").write_bytes(b"x"), 0, "failed   foreign_objects", "notes.docx", id="foreign"
    ),
    pytest.param(
        lambda v: edit_manifest(v, lambda m: m.update(schema_version=99)),
        2,
        "manifest's schema_version 99 is newer",
        "upgrade imagemill",
        id="newer manifest",
    ),
    pytest.param(
        lambda v: edit_manifest(v, lambda m: m.update(format_version=99)),
        2,
        "manifest's format_version 99 is newer",
        "upgrade imagemill",
        id="newer bytes",
    ),
    pytest.param(lambda v: cut(v, MANIFEST), 1, "not a readable manifest", "roll back", id="cut manifest"),
    pytest.param(
        lambda v: flip(v, MANIFEST, b'"records"'), 1, "not a readable manifest", "roll back", id="flipped manifest"
    ),
    pytest.param(
        lambda v: edit_manifest(v, lambda m: m["shards"][0].update(crc32c="00000000")),
        1,
        "failed   shard_checksums",
        "onvert",
        id="manifest with another checksum",
    ),
    pytest.param(lambda v: cut(v, shard(v)), 1, "failed   shards_present", "onvert", id="cut shard"),
    pytest.param(lambda v: flip_bit(v, shard(v), 100), 1, "failed   record_framing", "at byte 0", id="flipped shard"),
    pytest.param(lambda v: cut(v, index_of(v, shard(v))), 1, "failed   shards_present", "onvert", id="cut index"),
    pytest.param(
        lambda v: flip_bit(v, index_of(v, shard(v)), 0),
        1,
        "failed   shard_index",
        "not a shard index",
        id="flipped index",
    ),
    pytest.param(
        lambda v: [path.unlink() for path in v.folder.iterdir()],
        2,
        "has nothing in it",
        "name the folder of a version",
        id="nothing",
    ),
    pytest.param(
        lambda v: (v.folder / MANIFEST).unlink(), 1, "did not finish", "run the refresh again", id="unfinished"
    ),
]


@pytest.mark.parametrize(("damage", "code", "finding", "advice"), BAD)
def test_a_bad_version_is_explained(verify, tmp_path, damage, code, finding, advice):
    version = build(tmp_path, toys())
    damage(version)
    ended, told = verify(version.folder)
    assert (ended, "Traceback" in told) == (code, False)
    assert finding in told
    assert advice in told


def test_a_good_version_passes(verify, tmp_path):
    ended, told = verify(build(tmp_path, toys()).folder)
    assert ended == 0
    assert "failed  " not in told
    assert "(0 failed)" in told


@pytest.mark.parametrize(
    ("images", "labels", "code", "finding", "advice"),
    [
        pytest.param({}, ["cat"], 1, "failed   labels", "cat", id="empty"),
        pytest.param(
            {Row(f"{n}.png", "cat", "train"): picture(n) for n in range(9)},
            ["cat"],
            0,
            "failed   label_balance",
            "is the only label with records",
            id="one label",
        ),
    ],
)
def test_what_there_is_too_little_of_is_told(verify, tmp_path, images, labels, code, finding, advice):
    ended, told = verify(build(tmp_path, images, labels=labels).folder)
    assert (ended, "Traceback" in told) == (code, False)
    assert finding in told
    assert advice in told


def cut_pointer(current: Path, version: Path) -> None:
    current.write_bytes(current.read_bytes()[:20])


def flip_pointer(current: Path, version: Path) -> None:
    current.write_bytes(current.read_bytes().replace(b"manifest", b"manifes\x74".upper()))


def remove_version(current: Path, version: Path) -> None:
    version.rename(current.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("damage", "code", "finding", "advice"),
    [
        pytest.param(lambda *_: None, 2, "holds a dataset, not one version", "versions/20260101", id="sound"),
        pytest.param(cut_pointer, 1, "not a readable pointer", "roll back", id="cut pointer"),
        pytest.param(flip_pointer, 1, "not a readable pointer", "roll back", id="flipped pointer"),
        pytest.param(remove_version, 1, "is gone", "roll back", id="version gone"),
    ],
)
def test_of_a_dataset_the_pointer_is_judged(verify, tmp_path, damage, code, finding, advice):
    version = build(tmp_path, toys())
    write_report(judge(version))
    Catalog(str(tmp_path)).publish(version.folder.name)
    damage(tmp_path / "CURRENT", version.folder)
    ended, told = verify(tmp_path)
    assert (ended, "Traceback" in told) == (code, False)
    assert finding in told
    assert advice in told
