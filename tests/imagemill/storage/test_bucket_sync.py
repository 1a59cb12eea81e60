"""Sync with buckets: in all directions, with every name, past every kill."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import open_store
from imagemill.storage.google_upload import CHUNK_BYTES
from imagemill.storage.local import LocalStore
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.storage.sync import SyncSummary, plan, sync
from tests.support.gcs.faults import Rule
from tests.support.gcs.server import client_environment

NAMES = [
    "a b",
    "#%?+&'\",",
    "50%25",
    "é",
    "e\u0301",
    "...",
    "x.",
    ".hidden",
    "-rf",
    "*",
    "~",
    "\U0001f600",
    "\uffff",
    "deep/er/x",
    "a-b",
    "a/b",
    "a.b",
    "n" * 240,
    "/".join(["d" * 100] * 9),
]


def fill(store, contents):
    for key, data in contents.items():
        store.write(key, data, durable=False)


def contents(store):
    return {info.key: store.read(info.key) for info in store.list()}


def put_raw(service, name, data=b"x"):
    """Puts an object of any name into the test's bucket, as others may."""
    url = f"{service.gcs.url}/upload/storage/v1/b/{service.bucket[5:]}/o?uploadType=media&name={quote(name, safe='')}"
    urlopen(Request(url, data, method="POST")).close()


@pytest.fixture
def folder(tmp_path):
    return open_store(tmp_path / "folder")


@pytest.fixture(params=["local to bucket", "bucket to local", "bucket to bucket", "prefix to prefix"])
def pair(request, service, folder, tmp_path):
    """A source and a destination in each direction."""
    return {
        "local to bucket": lambda: (folder, service.store("there")),
        "bucket to local": lambda: (service.store("here"), folder),
        "bucket to bucket": lambda: (service.store("x"), service.store("x", bucket=service.make_bucket())),
        "prefix to prefix": lambda: (service.store("x"), service.store("x2")),
    }[request.param]()


def test_every_name_in_every_direction(pair):
    source, destination = pair
    fill(source, {name: name.encode() for name in NAMES})
    summary = sync(source, destination)
    assert summary == SyncSummary(copied=len(NAMES), copied_bytes=sum(len(name.encode()) for name in NAMES))
    assert contents(destination) == {name: name.encode() for name in NAMES}
    assert sync(source, destination) == SyncSummary(unchanged=len(NAMES))


def test_the_destination_becomes_the_source(pair):
    source, destination = pair
    large = os.urandom(CHUNK_BYTES + 9)
    fill(source, {"same": b"1", "longer": b"22", "other": b"3", "new": b"", "large": large})
    fill(destination, {"same": b"1", "longer": b"2", "other": b"4", "extra": b"5"})
    planned = [(type(action).__name__, action.key) for action in plan(source, destination, delete=True)]
    assert planned == [("Delete", "extra"), *(("Copy", key) for key in ("large", "longer", "new", "other"))]
    done = sync(source, destination, delete=True)
    assert done == SyncSummary(copied=4, copied_bytes=CHUNK_BYTES + 12, unchanged=1, deleted=1)
    assert contents(destination) == contents(source)


def test_a_resync_reads_no_object_and_lists_each_side_once(service, folder):
    fill(folder, {f"{n:03}": b"%d" % n for n in range(100)})
    there = service.store("there")
    sync(folder, there)
    service.gcs.strike()
    assert sync(folder, there).unchanged == 100
    assert service.gcs.seen() == {"stat": 1, "list": 1}


@pytest.mark.parametrize("delete", [False, True])
def test_nothing_lists_a_bucket_twice(service, folder, delete):
    for n in range(1001):
        put_raw(service, f"here/{n:04}")
    service.gcs.strike()
    sync(service.store("here"), folder, delete=delete)
    # The first one asks whether there is any object at all.
    assert service.gcs.seen()["list"] == 1 + 2


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_that_the_service_has_lost_is_started_over(service, folder, status):
    fill(folder, {"x": os.urandom(2 * CHUNK_BYTES)})
    service.gcs.strike(Rule(kind="status", status=status, operation="upload", skip=2))
    assert sync(folder, service.store("there")).copied == 1
    assert contents(service.store("there")) == contents(folder)


def test_a_large_object_that_arrived_wrong_is_sent_again(service, folder):
    fill(folder, {"x": os.urandom(2 * CHUNK_BYTES)})
    service.gcs.strike(Rule(kind="corrupt", operation="upload", skip=1))
    assert sync(folder, service.store("there")).copied == 1
    assert contents(service.store("there")) == contents(folder)


def test_between_buckets_no_byte_passes_through_here(service):
    source, destination = service.store("x"), service.store("x", bucket=service.make_bucket())
    fill(source, {f"{n}": b"%d" % n for n in range(5)})
    service.gcs.strike()
    sync(source, destination)
    seen = service.gcs.seen()
    assert (seen["copy"], seen.get("read", 0), seen.get("upload", 0)) == (5, 0, 0)


def test_an_object_beside_objects_below_its_name(service, folder):
    there = service.store("there")
    fill(there, {"x": b"1", "x/y": b"2"})
    other = service.store("other")
    assert sync(there, other).copied == 2
    assert contents(other) == {"x": b"1", "x/y": b"2"}
    with pytest.raises(CallerError, match="stands where a"):
        sync(there, folder)


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "a//b", "a/./b", "a\nb", ".."])
def test_an_object_cannot_leave_the_target_folder(service, folder, tmp_path, name):
    put_raw(service, f"here/{name}")
    put_raw(service, "here/fine")
    with pytest.raises(CallerError, match="rename it or exclude it"):
        sync(service.store("here"), folder)
    assert sync(service.store("here"), folder, exclude=[f"**{name}"]).copied == 1
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ["folder/fine"]


@pytest.mark.parametrize("name", ["../../etc/x", "a//b", "/x"])  # fake-gcs-server deletes no name with a line break
def test_names_that_cannot_be_written_can_be_deleted(service, folder, name):
    put_raw(service, f"there/{name}")
    put_raw(service, "etc/x")
    fill(folder, {"fine": b"1"})
    assert sync(folder, service.store("there"), delete=True) == SyncSummary(copied=1, copied_bytes=1, deleted=1)
    assert contents(service.store("there")) == {"fine": b"1"}
    assert service.store("etc").read("x") == b"x"


class TestMistakes:
    def test_a_bucket_that_is_not_there(self, service, folder):
        fill(folder, {"x": b"1"})
        nowhere = open_store("gs://no-such-bucket/x", settings=service.settings)
        for stores in ((folder, nowhere), (nowhere, folder)):
            with pytest.raises(CallerError, match="there is no bucket gs://no-such-bucket"):
                sync(*stores)

    def test_a_prefix_that_is_an_object(self, service, folder):
        fill(folder, {"x": b"1"})
        fill(service.store(), {"file.png": b"1"})
        for stores in ((folder, service.store("file.png")), (service.store("file.png"), folder)):
            with pytest.raises(CallerError, match=r"file\.png is an object"):
                sync(*stores)

    def test_a_folder_that_is_a_file(self, service, tmp_path):
        fill(service.store("here"), {"x": b"1"})
        (tmp_path / "file").touch()
        with pytest.raises(CallerError, match="is a file, where a folder is wanted"):
            sync(service.store("here"), open_store(tmp_path / "file"))

    def test_a_prefix_without_objects(self, service, folder):
        with pytest.raises(CallerError, match="holds no object; check its spelling"):
            sync(service.store("mispelt"), folder)

    def test_one_place_within_the_other(self, service):
        fill(service.store("x"), {"y/z": b"1"})
        for stores in ((service.store("x"), service.store("x/y")), (service.store("x"), service.store())):
            with pytest.raises(CallerError, match="two places apart"):
                sync(*stores, delete=True)


def test_nothing_is_deleted_when_a_copy_fails(service, folder):
    there = service.store("there")
    fill(folder, {"a": b"1", "b": b"2"})
    fill(there, {"extra": b"3"})
    service.gcs.strike(Rule(kind="status", status=403, operation="upload", times=-1))
    with pytest.raises(CallerError, match=r"roles/storage\.objectUser"):
        sync(folder, there, delete=True)
    service.gcs.strike()
    assert contents(there) == {"extra": b"3"}


def test_an_interrupted_sync_transfers_only_the_rest(service, folder):
    there = service.store("there", storage_deadline_seconds=0.2)
    fill(folder, {f"{n:02}": b"%d" % n for n in range(60)})
    service.gcs.strike(Rule(kind="status", operation="upload", skip=25, times=-1))
    with pytest.raises(TemporaryFault, match="run it again, it continues"):
        sync(folder, there)
    service.gcs.strike()
    stored = contents(there)
    assert len(stored) == 25
    service.gcs.strike()
    assert sync(folder, there) == SyncSummary(
        copied=35, copied_bytes=sum(len(b"%d" % n) for n in range(60) if f"{n:02}" not in stored), unchanged=25
    )
    assert service.gcs.seen()["upload"] == 35


def test_what_comes_down_is_compared_with_the_listing_where_no_tag_proves_it(service, folder):
    here = service.store("here")
    fill(here, {"x": b"content"})
    here.tags_are_digests = False  # as those of a composite object, or of a bucket with its own keys
    service.gcs.strike(Rule(kind="corrupt", operation="read"))
    sync(here, folder)
    assert service.gcs.struck() == 1
    assert contents(folder) == {"x": b"content"}


def test_what_never_comes_down_whole_is_a_temporary_fault(service, folder):
    here = service.store("here")
    fill(here, {"x": b"content"})
    here.tags_are_digests = False
    service.gcs.strike(Rule(kind="corrupt", operation="read", times=-1))
    with pytest.raises(TemporaryFault, match="with another checksum than it has"):
        sync(here, folder)
    assert contents(folder) == {}


class Replaced:
    """A listing that is older than the object."""

    def __init__(self, store):
        self.store = store

    def __getattr__(self, name):
        return getattr(self.store, name)

    def list(self, *arguments, **options):
        for info in self.store.list(*arguments, **options):
            self.store.write(info.key, b"newer")
            yield info


def test_an_object_that_was_replaced_since_it_was_listed_comes_as_it_is(service, folder):
    fill(service.store("here"), {"x": b"older"})
    sync(Replaced(service.store("here")), folder)
    assert contents(folder) == {"x": b"newer"}


def test_an_object_with_an_encoding_comes_as_it_is_stored(service, folder):
    stored = gzip.compress(b"content")
    url = f"{service.gcs.url}/upload/storage/v1/b/{service.bucket[5:]}/o?uploadType=multipart"
    described = json.dumps({"name": "here/x", "contentEncoding": "gzip"}).encode()
    parts = (b"--cut\r\nContent-Type: text/plain\r\n\r\n" + part + b"\r\n" for part in (described, stored))
    headers = {"Content-Type": "multipart/related; boundary=cut"}
    urlopen(Request(url, b"".join(parts) + b"--cut--\r\n", headers, method="POST")).close()
    assert service.store("here").read("x") == stored
    sync(service.store("here"), folder)
    assert contents(folder) == {"x": stored}


def test_a_large_object_is_read_by_ranges_alone(service, folder):
    fill(service.store("here"), {"x": bytes(CHUNK_BYTES + 1)})
    service.gcs.strike()
    sync(service.store("here"), folder)
    assert all(request.part for request in service.gcs.asked("read"))


class Rewritten(LocalStore):
    """A folder whose large file is rewritten in place in the middle of the first read of it."""

    rewrites = 1

    def read_range(self, key, offset, length):
        data = super().read_range(key, offset, length)
        if offset == 0 and self.rewrites:
            self.rewrites -= 1
            with Path(self.uri, key).open("r+b") as file:
                file.write(b"new" * CHUNK_BYTES)
        return data


def test_a_source_that_changes_is_never_stored_half_old_half_new(service, folder):
    fill(folder, {"big": b"old" * CHUNK_BYTES})
    there = service.store("there")
    sync(Rewritten(folder.uri), there)
    assert there.read("big") == b"new" * CHUNK_BYTES


SYNC = """
import sys
from imagemill.storage import open_store
from imagemill.storage.sync import sync
print(sync(open_store(sys.argv[1]), open_store(sys.argv[2])).model_dump_json())
"""


@pytest.mark.parametrize("direction", ["up", "down"])
def test_killed_at_any_moment_it_goes_on_where_it_was(service, folder, direction):
    draw = random.Random()  # other moments every time; what must hold, holds at each
    whole = {f"{n % 7}/{n:04}": draw.randbytes(2400) for n in range(200)} | {"3/big": draw.randbytes(CHUNK_BYTES * 2)}
    fill(folder, whole)
    bucket = service.store("there")
    there: dict[str, bytes] = {}
    if direction == "down":
        sync(folder, bucket)
    source, destination = (folder, bucket) if direction == "up" else (bucket, open_store(f"{folder.uri}-down"))
    for _ in range(3):
        killed_after(draw.randrange(len(whole)), source, destination, environment=environment_of(service))
        before, there = there, contents(destination)
        assert before.items() <= there.items() <= whole.items()
    service.gcs.strike()
    summary = sync(source, destination)
    # A request that was on its way when its sender died may be carried out after `there` was looked at.
    assert summary.copied + summary.unchanged == len(whole)
    assert summary.unchanged >= len(there), "nothing is copied again"
    assert contents(destination) == whole


def environment_of(service):
    settings = asdict(service.settings)
    assert settings["gcs_endpoint"] == service.gcs.url
    return os.environ | client_environment(service.gcs.url)


def killed_after(count, source, target, *, environment):
    """Starts a sync and kills it when the target holds `count` objects."""
    running = subprocess.Popen(
        [sys.executable, "-c", SYNC, source.uri, target.uri], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while running.poll() is None and sum(1 for _ in target.list()) < count:
            pass
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def test_the_settings_of_the_environment_reach_the_store(service):
    settings = ObjectStoreSettings.from_environment(client_environment(service.gcs.url))
    store = open_store(service.bucket, settings=settings)
    store.write("x", b"1")
    assert store.read("x") == b"1"


def test_deleting_a_name_with_a_nul_touches_no_other(service, folder):
    """The names to delete wait on disk; such a one was read back as two, and the second was a fresh upload."""
    put_raw(service, "drafts\0keep")
    fill(folder, {"keep": b"new"})
    assert sync(folder, service.store(), delete=True) == SyncSummary(copied=1, copied_bytes=3, deleted=1)
    assert contents(service.store()) == {"keep": b"new"}
