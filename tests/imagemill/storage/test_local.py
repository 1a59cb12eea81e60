import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import pytest

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import ABSENT, MissingObject, ObjectTooLarge, PreconditionFailed, open_store
from imagemill.storage.faults import ObstructedKey, os_fault
from imagemill.storage.local import LocalStore

HOSTILE = [
    "a b",
    "#%?+&'\",",
    "é",
    "e\u0301",
    "...",
    "deep/er/x",
    ".hidden",
    "x.",
    "-rf",
    "*",
    "~",
    "\U0001f600",
    "n" * 200,
]


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "root")


def files(store):
    return sorted(str(p.relative_to(store.uri)) for p in Path(store.uri).rglob("*") if not p.is_dir())


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_names_come_back(store, key):
    written = store.write(key, b"content")
    assert store.read(key) == b"content"
    assert [info.key for info in store.list()] == [key]
    assert files(store) == [key]
    assert store.stat(key, checksum=True) == written
    assert written.crc32c == google_crc32c.value(b"content")
    store.delete(key)
    assert list(store.list()) == []


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/out", "a//b", ""])
def test_no_operation_leaves_the_root(store, key, tmp_path):
    (tmp_path / "out").write_bytes(b"outside")
    for operation in (store.read, store.stat, store.delete, lambda k: store.read_range(k, 0, 1)):
        with pytest.raises(CallerError, match="segment"):
            operation(key)
    with pytest.raises(CallerError, match="segment"):
        store.write(key, b"")
    with pytest.raises(CallerError, match="segment"), store.writer(key):
        pass
    assert (tmp_path / "out").read_bytes() == b"outside"


def test_a_listing_stays_in_the_root(store, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(CallerError, match="no prefix"):
        list(store.list("../"))
    assert list(store.list("..")) == []


@pytest.mark.parametrize(
    "key", ["missing", "file/below", "folder", "n" * 300, "\udcff", "\ud800", "nul\0", "circle", "pipe"]
)
def test_what_is_no_object_is_missing(store, key):
    store.write("file", b"x")
    store.write("folder/x", b"x")
    (Path(store.uri) / "circle").symlink_to("circle")
    os.mkfifo(Path(store.uri) / "pipe")
    with pytest.raises(MissingObject):
        store.read(key)
    with pytest.raises(MissingObject):
        store.read_range(key, 0, 1)
    assert store.stat(key) is None
    assert store.stat(key, checksum=True) is None
    if key not in ("circle", "pipe"):
        store.delete(key)
    assert [info.key for info in store.list()] == ["file", "folder/x"]


def test_size_is_decided_before_bytes_are_read(store):
    store.write("x", b"12345")
    with Path(store.uri, "sparse").open("wb") as file:
        file.truncate(1 << 40)  # reading it would need a tebibyte
    assert store.read("x", max_bytes=5) == b"12345"
    with pytest.raises(ObjectTooLarge, match="5 bytes, more than 4") as error:
        store.read("x", max_bytes=4)
    assert error.value.size == 5
    with pytest.raises(ObjectTooLarge):
        store.read("sparse", max_bytes=4)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, b"012"), (8, 5, b"89"), (20, 1, b""), (3, 0, b""), (0, 1 << 60, b"0123456789")],
)
def test_ranges(store, offset, length, expected):
    store.write("x", b"0123456789")
    assert store.read_range("x", offset, length) == expected


def test_a_negative_range_is_a_bug(store):
    with pytest.raises(ValueError, match="not negative"):
        store.read_range("x", -1, 1)


class Rewritten(LocalStore):
    """A folder whose file somebody rewrites in place each time it is read, so many times."""

    rewrites = 100

    def _open(self, key: str) -> tuple[int, os.stat_result]:
        path = Path(self.uri, key)
        os.utime(path, (0, 0))
        opened = super()._open(key)
        if self.rewrites:
            self.rewrites -= 1
            path.write_bytes(b"new")
        return opened


@pytest.mark.parametrize("at_rest", [False, True])
def test_a_file_that_changes_while_it_is_read_is_read_again(store, at_rest):
    store.write("x", b"old")
    rewritten = Rewritten(store.uri)
    with pytest.raises(TemporaryFault, match="when it rests"):
        rewritten.read("x", at_rest=at_rest)
    with pytest.raises(TemporaryFault, match="when it rests"):
        rewritten.stat("x", checksum=True)
    rewritten.rewrites = 1
    assert rewritten.read("x", at_rest=at_rest) == b"new"


def test_a_young_file_is_waited_for_when_asked(store):
    Path(store.uri).mkdir()
    path = Path(store.uri, "x")
    path.write_bytes(b"somebody may still be writing")
    store.read("x", at_rest=True)
    assert time.time_ns() - path.stat().st_mtime_ns >= 50_000_000


def test_generations_change_with_every_write(store):
    seen = [store.write("x", b"same", durable=False).generation for _ in range(200)]
    assert len(set(seen)) == 200
    assert store.stat("x").generation == seen[-1]


def test_files_carry_the_full_resolution_of_the_clock(store):
    """The kernel's own stamps lag by up to a tick, in which a file system may give an inode away again."""
    for _ in range(50):
        before = time.time_ns()
        store.write("x", b"", durable=False)
        assert before <= Path(store.uri, "x").stat().st_mtime_ns <= time.time_ns()


def test_conditional_writes(store):
    first = store.write("a/x", b"1", if_generation=ABSENT)
    with pytest.raises(PreconditionFailed, match="expected no object"):
        store.write("a/x", b"2", if_generation=ABSENT)
    second = store.write("a/x", b"2", if_generation=first.generation)
    with pytest.raises(PreconditionFailed, match="somebody else"):
        store.write("a/x", b"3", if_generation=first.generation)
    assert store.read("a/x") == b"2"
    assert store.stat("a/x").generation == second.generation
    store.delete("a/x")
    with pytest.raises(PreconditionFailed, match="found none"):
        store.write("a/x", b"3", if_generation=second.generation)
    assert files(store) == []


def compete(uri: str, name: str, rounds: int, barrier) -> int:
    """Writes once a round against the others; returns how often it won."""
    store, won = open_store(uri), 0
    for number in range(rounds):
        before = store.stat(f"pointer-{number}")
        barrier.wait()
        try:
            store.write(f"pointer-{number}", name.encode(), if_generation=before.generation if before else ABSENT)
            won += 1
        except PreconditionFailed:
            pass
    return won


def test_of_racing_threads_one_wins(store):
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        won = pool.map(lambda name: compete(store.uri, name, 50, barrier), "abcd")
        assert sum(won) == 50
    assert files(store) == sorted(f"pointer-{n}" for n in range(50))


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux tells who waits for a lock")
def test_a_lock_file_that_was_removed_locks_nothing(store):
    """One holder leaves, which removes the file; a second makes a new one; who waited for the first waits on."""
    Path(store.uri).mkdir()
    lock = Path(store.uri, ".imagemill-lock")
    with lock.open("w") as first, ThreadPoolExecutor(1) as pool:
        fcntl.flock(first, fcntl.LOCK_EX)
        waiting = pool.submit(store.write, "x", b"", if_generation=ABSENT)
        wait_for_a_waiter(first, waiting)
        lock.unlink()
        with lock.open("w") as second:
            fcntl.flock(second, fcntl.LOCK_EX)
            first.close()
            wait_for_a_waiter(second, waiting)
            lock.unlink()
        assert waiting.result().key == "x"


def wait_for_a_waiter(file, waiting):
    """Returns when somebody waits for the lock of an open file; fails when `waiting` ends first."""
    inode = os.fstat(file.fileno()).st_ino
    while not any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines()):
        assert not waiting.done()


def _compete_into(queue, *args):
    queue.put(compete(*args))


def test_of_racing_processes_one_wins(store):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_compete_into, args=(queue, store.uri, name, 50, barrier)) for name in "abc"]
    for racer in racers:
        racer.start()
    won = [queue.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert sum(won) == 50


def test_a_streamed_object_appears_whole_or_not_at_all(store):
    store.write("x", b"old")
    with store.writer("x") as target:
        for _ in range(5):
            target.write(b"n" * 700_000)
            assert store.read("x") == b"old"
            assert [info.key for info in store.list()] == ["x"]
    assert store.read("x") == b"n" * 3_500_000
    with pytest.raises(ZeroDivisionError), store.writer("x") as target:
        target.write(b"half" * 1_000_000)
        raise ZeroDivisionError
    assert store.read("x") == b"n" * 3_500_000
    assert files(store) == ["x"]


def write_whole(store):
    store.write("x", b"bytes")


def write_streamed(store):
    with store.writer("x") as target:
        target.write(b"bytes")


@pytest.mark.parametrize("write", [write_whole, write_streamed])
def test_bytes_are_on_the_disk_before_they_have_a_name_and_the_name_after(store, monkeypatch, write):
    path = Path(store.uri, "x")
    path.parent.mkdir()
    flushed, flush = [], os.fsync

    def watched(descriptor):
        flush(descriptor)
        flushed.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write(store)
    assert flushed == [(path.stat().st_ino, False), (path.parent.stat().st_ino, True)]


def test_errors_of_the_callers_own_block_stay_what_they_are(store):
    with pytest.raises(FileNotFoundError), store.writer("x"):
        raise FileNotFoundError("not the store's")


def test_new_files_honour_the_umask(store):
    before = os.umask(0o027)
    try:
        store.write("x", b"")
    finally:
        os.umask(before)
    assert Path(store.uri, "x").stat().st_mode & 0o777 == 0o640


def test_copy_in_copies_from_any_place(store, tmp_path):
    other = open_store(tmp_path / "other")
    other.write("a b/x%20", b"z" * 3_000_000)
    store.copy_in(f"{other.uri}/a b/x%20", "copy")
    assert store.read("copy") == b"z" * 3_000_000
    with pytest.raises(MissingObject):
        store.copy_in(f"{other.uri}/nope", "copy")


def test_delete_removes_the_folders_it_empties(store):
    store.write("a/b/c", b"")
    store.write("a/x", b"")
    store.delete("a/b/c")
    assert not Path(store.uri, "a/b").exists()
    store.delete("a/x")
    store.delete("a/x")
    assert not Path(store.uri, "a").exists()
    assert Path(store.uri).is_dir()


def test_writers_and_deleters_of_one_folder_do_not_trip_each_other(store):
    def churn(name):
        for _ in range(200):
            store.write(f"a/b/{name}", b"", durable=False)
            store.delete(f"a/b/{name}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(churn, "xyz"))
    assert list(store.list()) == []


def test_leftovers_of_killed_writers_go_after_an_hour(store):
    store.write("a/x", b"")
    folder = Path(store.uri, "a")
    old, young, held = (folder / f".imagemill-tmp-{name}" for name in ("old", "young", "held"))
    for leftover in (old, young, held):
        leftover.touch()
    for leftover in (old, held):
        os.utime(leftover, (time.time() - 3700,) * 2)
    with held.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        assert [info.key for info in store.list()] == ["a/x"]
    assert (old.exists(), young.exists(), held.exists()) == (False, True, True)


def test_a_slow_writer_keeps_its_file(store):
    with store.writer("x") as target:
        target.write(b"slow" * 1_000_000)
        (temporary,) = Path(store.uri).glob(".imagemill-tmp-*")
        os.utime(temporary, (time.time() - 3700,) * 2)
        assert list(store.list()) == []
    assert store.read("x") == b"slow" * 1_000_000


def test_checksums_in_listings_on_demand(store):
    store.write("x", b"content")
    assert [info.crc32c for info in store.list()] == [None]
    assert [info.crc32c for info in store.list(checksums=True)] == [google_crc32c.value(b"content")]


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    store = open_store(tmp_path / "file")
    for operation in (store.require_root, lambda: list(store.list()), lambda: store.write("x", b"")):
        with pytest.raises(CallerError, match=r"is a file, where a folder is wanted|a file stands where"):
            operation()


def test_a_missing_root_lists_nothing_but_is_told(store):
    assert list(store.list()) == []
    with pytest.raises(MissingObject, match="no such folder"):
        store.require_root()


@pytest.mark.parametrize(("first", "second"), [("x", "x/y"), ("x/y", "x")])
@pytest.mark.parametrize("generation", [None, ABSENT])
def test_x_beside_x_y_is_a_clear_error_in_a_folder(store, first, second, generation):
    store.write(first, b"")
    with pytest.raises(ObstructedKey, match="remove it or choose another place"):
        store.write(second, b"", if_generation=generation)
    assert files(store) == [first]


@pytest.mark.parametrize("key", ["n" * 256, "a\nb", ".imagemill-tmp-x"])
def test_names_that_cannot_be_written(store, key):
    with pytest.raises(CallerError):
        store.write(key, b"")
    assert not Path(store.uri).exists() or files(store) == []


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="needs a file system that refuses even root, as Linux's /proc does"
)
def test_an_unwritable_place_is_the_callers_mistake_even_for_root():
    with pytest.raises(CallerError, match="cannot write /proc/imagemill/x: "):
        open_store("/proc/imagemill").write("x", b"")


FILL = """
import resource, signal, sys
from imagemill.errors import CallerError
from imagemill.storage import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = open_store(sys.argv[1])
try:
    if sys.argv[2] == "write":
        store.write("x", b"n" * 200_000)
    else:
        with store.writer("x") as target:
            for _ in range(200):
                target.write(b"n" * 1_000)
except CallerError as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["write", "writer"])
def test_a_file_that_does_not_fit_leaves_the_old_one(store, how):
    store.write("x", b"old")
    ended = subprocess.run([sys.executable, "-c", FILL, store.uri, how], capture_output=True, text=True, check=True)
    assert "cannot write" in ended.stdout and "ulimit -f" in ended.stdout
    assert store.read("x") == b"old"
    assert files(store) == ["x"]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root; the file size limit above stands in for it")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_old_object(small_disk):
    store = open_store(small_disk)
    store.write("x", b"old")
    for _ in range(2):
        with pytest.raises(CallerError, match="No space left on device; free some space"):
            store.write("x", b"n" * (2 << 20))
        with pytest.raises(CallerError, match="free some space"), store.writer("x") as target:
            target.write(b"n" * (2 << 20))
    assert store.read("x") == b"old"
    assert files(store) == ["x"]


@pytest.mark.parametrize(
    ("code", "family"),
    [
        (errno.ENOSPC, CallerError),
        (errno.EDQUOT, CallerError),
        (errno.EROFS, CallerError),
        (errno.EACCES, CallerError),
        (errno.ENAMETOOLONG, CallerError),
        (errno.EMFILE, CallerError),
        (errno.EIO, TemporaryFault),
        (errno.ESTALE, TemporaryFault),
        (errno.EAGAIN, TemporaryFault),
        (errno.ECHILD, OSError),
    ],
)
def test_errors_of_the_system_join_their_family(code, family):
    error = os_fault(OSError(code, os.strerror(code)), "/data/x", "write")
    assert isinstance(error, family)
    if family is not OSError:
        assert "/data/x" in str(error) and os.strerror(code) in str(error) and ";" in str(error)
