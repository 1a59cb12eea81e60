import os
import time

import pytest

from imagemill.storage import open_store, stamps
from imagemill.storage.atomic import REST_NS
from imagemill.storage.stamps import Witness, folder_stamp


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for name in ("a.png", "cat/b.png", "cat/deep/ü.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    return root


def rewrite_in_secret(path, data):
    """Writes in place, and gives the file the time it had."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_left_alone_keeps_its_stamp(folder):
    first = folder_stamp(str(folder))
    (folder / "cat" / "b.png").read_bytes()
    (folder / ".imagemill-tmp-1").write_bytes(b"what no listing shows")
    assert first == folder_stamp(str(folder))
    assert first is not None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: (root / "a.png").write_bytes(b"longer"), id="size"),
        pytest.param(lambda root: (root / "a.png").write_bytes(b"4321"), id="bytes"),
        pytest.param(lambda root: rewrite_in_secret(root / "a.png", b"4321"), id="bytes, time set back"),
        pytest.param(lambda root: (root / "a.png").rename(root / "c.png"), id="name"),
        pytest.param(lambda root: (root / "a.png").unlink(), id="gone"),
        pytest.param(lambda root: (root / "cat" / "new.png").write_bytes(b""), id="new"),
        pytest.param(lambda root: (root / "link.png").symlink_to(root / "a.png"), id="link to a file"),
    ],
)
def test_every_change_changes_the_stamp(folder, change):
    before = folder_stamp(str(folder))
    change(folder)
    assert folder_stamp(str(folder)) not in (before, None)


def test_two_files_that_trade_places_change_the_stamp(folder):
    before = folder_stamp(str(folder))
    (folder / "a.png").rename(folder / "x")
    (folder / "cat" / "b.png").rename(folder / "a.png")
    (folder / "x").rename(folder / "cat" / "b.png")
    assert folder_stamp(str(folder)) not in (before, None)


def test_a_young_file_is_stamped_when_it_has_rested(folder):
    (folder / "a.png").write_bytes(b"4321")
    written = (folder / "a.png").stat().st_mtime_ns
    assert folder_stamp(str(folder)) is not None
    assert time.time_ns() - written >= REST_NS


def spoil_by_the_future(root, monkeypatch):
    os.utime(root / "a.png", (time.time() + 9_000,) * 2)


def spoil_by_a_link(root, monkeypatch):
    (root / "elsewhere").symlink_to(root.parent)


def spoil_by_a_dangling_link(root, monkeypatch):
    (root / "elsewhere").symlink_to(root / "nothing")


def spoil_by_a_coarse_clock(root, monkeypatch):
    def coarse(directory):
        for key, found in files(directory):
            seconds = [int(value) for value in found[:10]]
            yield key, os.stat_result(seconds, {"st_mtime_ns": found.st_mtime_ns, "st_ctime_ns": seconds[9] * 10**9})

    files = stamps._files
    monkeypatch.setattr(stamps, "_files", coarse)


@pytest.mark.parametrize(
    "spoil", [spoil_by_the_future, spoil_by_a_link, spoil_by_a_dangling_link, spoil_by_a_coarse_clock]
)
def test_what_proves_nothing_has_no_stamp(folder, monkeypatch, spoil):
    assert folder_stamp(str(folder)) is not None
    spoil(folder, monkeypatch)
    assert folder_stamp(str(folder)) is None


def test_nothing_has_no_stamp(tmp_path):
    assert folder_stamp(str(tmp_path / "nothing")) is None
    assert folder_stamp(str(tmp_path)) is None


def test_a_witness_holds_what_it_has_seen_last(folder):
    witness = Witness(open_store(folder))
    for info in list(witness.list()):
        witness.stat(info.key, checksum=True)
    assert witness.holds()
    witness.stat("a.png", checksum=True)  # checked, found different
    witness.write("new.png", b"5678")
    assert not witness.holds()  # a.png counts twice, which is an error on the safe side
    witness = Witness(open_store(folder))
    for info in list(witness.list()):
        witness.stat(info.key, checksum=True)
        witness.write(info.key, b"other")
    assert witness.holds()
    (folder / "a.png").write_bytes(b"third")
    assert not witness.holds()
