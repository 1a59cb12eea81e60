"""Batches that wait on disk come back whole, in every process that shares the files, and leave nothing behind."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagemill.conversion.batches import Carried, Spool, size_of
from imagemill.errors import CallerError


@pytest.fixture
def spool():
    opened = Spool.create(2)
    yield opened
    opened.close()


def test_batches_come_back_in_any_order(spool):
    data = [os.urandom(size) for size in (0, 1, 70_000, 3)]
    places = [spool.put(each) for each in data]
    assert [size_of(place) for place in places] == [0, 1, 70_000, 3]
    assert [spool.get(place) for place in reversed(places)] == data[::-1]
    assert spool.get(b"carried all the same") == b"carried all the same"


def test_threads_do_not_write_over_each_other(spool):
    data = [bytes([number]) * 5_000 for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(spool.put, data))
    assert [spool.get(place) for place in places] == data


def test_another_process_writes_a_file_of_its_own(spool):
    spool.put(b"ours")
    script = (
        "import sys; from imagemill.conversion.batches import Spool;"
        "print(*Spool(list(map(int, sys.argv[1:])), own=1).put(b'theirs'))"
    )
    command = [sys.executable, "-c", script, *map(str, spool.descriptors)]
    said = subprocess.run(command, pass_fds=spool.descriptors, capture_output=True, text=True, check=True).stdout
    place = tuple(map(int, said.split()))
    assert place == (1, 0, 6)
    assert spool.get(place) == b"theirs"


def test_nothing_has_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = Spool.create(3)
    opened.put(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []
    opened.close()
    for descriptor in opened.descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_full_disk_names_the_folder():
    full = os.open("/dev/full", os.O_RDWR)
    spool = Spool([full])
    with pytest.raises(CallerError, match=r"cannot write to .* \(TMPDIR\): No space left on device"):
        spool.put(b"x")
    spool.close()


def test_no_folder_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(CallerError, match="TMPDIR"):
        Spool.create(1)


def test_a_place_elsewhere_is_a_bug(spool):
    with pytest.raises(RuntimeError, match="waits on another machine's disk"):
        Carried().get((0, 0, 1))
    with pytest.raises(RuntimeError, match="has 0 bytes"):
        spool.get((0, 0, 1))
