import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import MissingObject, open_store
from imagemill.storage.difference import Copy, Delete, Selection, pairs
from imagemill.storage.local import LocalStore
from imagemill.storage.sync import SyncSummary, plan, sync
from imagemill.storage.transfer import WHOLE_BYTES


@pytest.fixture
def source(tmp_path):
    return open_store(tmp_path / "source")


@pytest.fixture
def destination(tmp_path):
    return open_store(tmp_path / "destination")


def fill(store, **contents):
    for key, data in contents.items():
        store.write(key, data, durable=False)


def contents(store):
    return {str(p.relative_to(store.uri)): p.read_bytes() for p in Path(store.uri).rglob("*") if p.is_file()}


NAMES = ["a-b", "a.b", "a/b", "a b#%?é/e\u0301", "ab", "z/y/x", "\U0001f600", "\uffff"]
"""Names whose order by bytes, by UTF-16 and by folder differ."""


@pytest.mark.parametrize("threads", [1, 4])
def test_the_destination_becomes_the_source(source, destination, threads):
    fill(
        source,
        **{name: name.encode() for name in NAMES},
        same=b"1",
        longer=b"22",
        other=b"3",
        big=b"b" * (WHOLE_BYTES + 9),
    )
    fill(destination, same=b"1", longer=b"2", other=b"4", extra=b"5")
    expected = [
        *(Copy(name, len(name.encode()), "new") for name in NAMES),
        Copy("big", WHOLE_BYTES + 9, "new"),
        Copy("longer", 2, "size differs"),
        Copy("other", 1, "checksum differs"),
        Delete("extra", 1),
    ]
    assert list(plan(source, destination, delete=True, threads=threads)) == sorted(
        expected, key=lambda a: a.key.encode()
    )
    would = sync(source, destination, delete=True, dry_run=True, threads=threads)
    assert contents(destination).keys() == {"same", "longer", "other", "extra"}
    done = sync(source, destination, delete=True, threads=threads)
    size = sum(action.size for action in expected if isinstance(action, Copy))
    assert done == would == SyncSummary(copied=len(NAMES) + 3, copied_bytes=size, unchanged=1, deleted=1)
    assert contents(destination) == contents(source)
    assert sync(source, destination, delete=True, threads=threads) == SyncSummary(unchanged=len(NAMES) + 4)
    assert list(plan(source, destination, delete=True)) == []


def test_without_delete_extras_stay(source, destination):
    fill(source, a=b"1")
    fill(destination, b=b"2")
    assert list(plan(source, destination)) == [Copy("a", 1, "new")]
    assert sync(source, destination) == SyncSummary(copied=1, copied_bytes=1)
    assert contents(destination) == {"a": b"1", "b": b"2"}


@settings(max_examples=50, deadline=None)
@given(
    *[st.dictionaries(st.sampled_from(["a", "a-", "b/c", "b/d", "b.", "é", "\U0001f600"]), st.binary(max_size=2))] * 2
)
def test_plan_is_the_difference_of_two_sets(tmp_path_factory, ours, theirs):
    folder = tmp_path_factory.mktemp("stores")
    source, destination = open_store(folder / "s"), open_store(folder / "d")
    fill(source, **ours)
    fill(destination, **theirs)
    Path(source.uri).mkdir(exist_ok=True)
    found = {(type(action), action.key) for action in plan(source, destination)}
    assert found == {(Copy, key) for key, data in ours.items() if theirs.get(key) != data}
    sync(source, destination)
    assert contents(destination) == {**theirs, **ours}


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["*.tmp"], {"x.png", "d/x.png", "d/e/y", "drafts/z"}),
        (["drafts"], {"x.png", "x.tmp", "d/x.png", "d/x.tmp", "d/e/y"}),
        (["d/*.tmp", "drafts/"], {"x.png", "x.tmp", "d/x.png", "d/e/y"}),
        (["d/**"], {"x.png", "x.tmp", "drafts/z"}),
        (["/d"], {"x.png", "x.tmp", "drafts/z"}),
        (["?.png"], {"x.tmp", "d/x.tmp", "d/e/y", "drafts/z"}),
        (["*/x.png"], {"x.png", "x.tmp", "d/x.tmp", "d/e/y", "drafts/z"}),
        (["[x]*"], {"x.png", "x.tmp", "d/x.png", "d/x.tmp", "d/e/y", "drafts/z"}),
    ],
)
def test_excluded_names_are_left_alone_on_both_sides(source, destination, exclude, left):
    names = ["x.png", "x.tmp", "d/x.png", "d/x.tmp", "d/e/y", "drafts/z"]
    fill(source, **dict.fromkeys(names, b""))
    assert {action.key for action in plan(source, destination, exclude=exclude)} == left
    fill(source, keep=b"")
    fill(destination, **dict.fromkeys(names, b"old"))
    for name in names:
        source.delete(name)
    sync(source, destination, delete=True, exclude=exclude)
    assert contents(destination).keys() == {*names, "keep"} - left


def test_an_empty_exclusion_is_the_callers_mistake(source, destination):
    with pytest.raises(CallerError, match="cannot exclude"):
        sync(source, destination, exclude=["/"])


def test_only_some_keys(source, destination):
    fill(source, a=b"1", b=b"2", c=b"3")
    fill(destination, d=b"4", e=b"5")
    assert sync(source, destination, only=("a", "d"), delete=True) == SyncSummary(copied=1, copied_bytes=1, deleted=1)
    assert contents(destination) == {"a": b"1", "e": b"5"}


def test_places_within_one_another_are_refused(tmp_path, source):
    fill(source, **{"in/x": b"1"})
    (tmp_path / "link").symlink_to(source.uri)
    for other in (source.uri, f"{source.uri}/in", tmp_path, tmp_path / "link", tmp_path / "link/new"):
        for stores in ((source, open_store(other)), (open_store(other), source)):
            with pytest.raises(CallerError, match="two places apart"):
                sync(*stores, delete=True)
            with pytest.raises(CallerError, match="two places apart"):
                list(plan(*stores))
    assert contents(source) == {"in/x": b"1"}


def test_a_missing_source_is_the_callers_mistake(source, destination):
    fill(destination, x=b"1")
    with pytest.raises(MissingObject, match="no such folder"):
        sync(source, destination, delete=True)
    assert contents(destination) == {"x": b"1"}


def test_an_empty_source_deletes_nothing(source, destination):
    fill(destination, x=b"1")
    Path(source.uri).mkdir()
    with pytest.raises(CallerError, match="would delete all of"):
        sync(source, destination, delete=True)
    assert sync(source, destination) == SyncSummary()
    assert contents(destination) == {"x": b"1"}


@pytest.mark.parametrize(
    "name",
    [b"\xff", b"a\nb", b"n" * 250 + b"/" + b"n" * 250 + b"/" + b"n" * 250 + b"/" + b"n" * 250 + b"/" + b"n" * 250],
)
def test_a_name_no_store_can_hold_is_an_error_unless_excluded(source, destination, name):
    path = Path(source.uri, os.fsdecode(name))
    path.parent.mkdir(parents=True)
    path.touch()
    fill(source, fine=b"1")
    with pytest.raises(CallerError, match="rename it or exclude it"):
        sync(source, destination)
    assert sync(source, destination, exclude=[os.fsdecode(name)]).copied == 1


def test_nothing_is_deleted_when_a_copy_fails(source, destination):
    fill(source, **{"x/y": b"1", "z": b"2"})
    fill(destination, x=b"old", extra=b"3")
    Path(source.uri, "bad\n").touch()
    with pytest.raises(CallerError, match="control character"):
        sync(source, destination, delete=True)
    assert contents(destination)["extra"] == b"3"


def test_a_sync_writes_through_no_link_out_of_its_target(source, destination, tmp_path):
    fill(source, **{"a": b"1", "linked/x": b"2", "linked/y": b"3"})
    (tmp_path / "outside").mkdir()
    Path(destination.uri).mkdir()
    Path(destination.uri, "linked").symlink_to(tmp_path / "outside")
    for dry_run in (True, False):
        with pytest.raises(CallerError, match=r"destination/linked is a symbolic link.*or exclude linked"):
            sync(source, destination, dry_run=dry_run)
    assert list((tmp_path / "outside").iterdir()) == []
    sync(source, destination, exclude=["linked"])
    assert destination.read("a") == b"1"


class Full(LocalStore):
    """A disk that has no room for one object."""

    def write(self, key, data, *, if_generation=None, durable=True):
        if key == "z":
            raise CallerError("no room for z")
        return super().write(key, data, if_generation=if_generation, durable=durable)


@pytest.mark.parametrize("threads", [1, 4])
def test_deletions_wait_for_the_last_copy(source, destination, threads):
    fill(source, **{f"m{n:03}": b"1" for n in range(100)}, z=b"2")
    fill(destination, extra=b"3")
    with pytest.raises(CallerError, match="no room"):
        sync(source, Full(destination.uri), delete=True, threads=threads)
    assert contents(destination)["extra"] == b"3"


class Listed(LocalStore):
    """A folder that knows how far it was listed."""

    count = 0

    def list(self, prefix: str = "", *, checksums: bool = False):
        for info in super().list(prefix, checksums=checksums):
            self.count += 1
            yield info


def test_a_listing_is_never_held_whole(source, destination):
    fill(source, **{f"{n:03}": b"" for n in range(500)})
    listed, counts = Listed(source.uri), []
    sync(listed, destination, tell=lambda action: counts.append(listed.count))
    assert counts[0] < 100
    assert counts[-1] == 500


@pytest.mark.parametrize(("old", "new"), [("x", "x/y"), ("x/y", "x"), ("x/y/z", "x")])
def test_a_file_gives_way_to_a_folder_and_a_folder_to_a_file(source, destination, old, new):
    fill(source, **{new: b"new", "same": b"1"})
    fill(destination, **{old: b"old", "same": b"1"})
    with pytest.raises(CallerError, match="remove it"):
        sync(source, destination)
    assert sync(source, destination, delete=True) == SyncSummary(copied=1, copied_bytes=3, unchanged=1, deleted=1)
    assert contents(destination) == {new: b"new", "same": b"1"}


class Restless(LocalStore):
    """A folder whose large file is rewritten in place, in the middle of so many reads of it."""

    rewrites = 1

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        data = super().read_range(key, offset, length)
        if offset == 0 and self.rewrites:
            self.rewrites -= 1
            with Path(self.uri, key).open("r+b") as file:
                file.write(bytes([self.rewrites]) * (WHOLE_BYTES + 9))
        return data


def test_a_source_that_changes_while_it_is_read_is_read_again(source, destination):
    fill(source, big=b"old" * WHOLE_BYTES)
    sync(Restless(source.uri), destination)
    assert contents(destination) == contents(source)


def test_a_source_that_never_rests_is_a_temporary_fault(source, destination):
    fill(source, big=b"old" * WHOLE_BYTES)
    fill(destination, big=b"whole")
    restless = Restless(source.uri)
    restless.rewrites = 100
    with pytest.raises(TemporaryFault, match="when it rests"):
        sync(restless, destination)
    assert contents(destination) == {"big": b"whole"}


class Vanishing(LocalStore):
    """A folder whose files are gone between the listing and the read."""

    def list(self, prefix: str = "", *, checksums: bool = False):
        for info in super().list(prefix, checksums=checksums):
            Path(self.uri, info.key).unlink()
            yield info


@pytest.mark.parametrize("size", [1, WHOLE_BYTES + 1])
def test_a_source_that_vanishes_is_a_temporary_fault(source, destination, size):
    fill(source, x=b"1" * size)
    with pytest.raises(TemporaryFault, match="vanished"):
        sync(Vanishing(source.uri), destination)


class Forgetful(LocalStore):
    """A disk that stores something else than it was given."""

    def write(self, key, data, *, if_generation=None, durable=True):
        return super().write(key, data[:-1] + b"?", if_generation=if_generation, durable=durable)


def test_what_is_stored_is_compared_with_what_was_sent(source, destination):
    fill(source, x=b"123")
    with pytest.raises(TemporaryFault, match="sent crc32c"):
        sync(source, Forgetful(destination.uri))


class Unsorted(LocalStore):
    """A store that breaks the promise a merge rests on."""

    def list(self, prefix: str = "", *, checksums: bool = False):
        return reversed(list(super().list(prefix, checksums=checksums)))


def test_an_unsorted_listing_stops_the_sync(source, destination):
    fill(source, a=b"1", b=b"2")
    with pytest.raises(RuntimeError, match="not sorted"):
        list(pairs(Unsorted(source.uri), destination, Selection()))


class Counting:
    def __init__(self):
        self.calls, self.volume = [], 0

    def begin(self, what, *, total, unit):
        self.calls.append((what, unit))

    def advance(self, amount=1, *, volume=0):
        self.calls.append(amount)
        self.volume += volume

    def end(self):
        self.calls.append("end")


def test_progress_hears_of_every_object(source, destination):
    fill(source, **{f"{n:03}": b"12" for n in range(100)})
    fill(destination, **{f"{n:03}": b"12" for n in range(50, 120)})
    progress = Counting()
    sync(source, destination, delete=True, progress=progress)
    assert progress.calls[0] == (f"sync to {destination.uri}", "objects")
    assert sum(call for call in progress.calls if isinstance(call, int)) == 120
    assert progress.calls[-1] == "end"
    assert progress.volume == 50 * 2


SYNC = """
import sys
from imagemill.storage import open_store
from imagemill.storage.sync import sync
sync(open_store(sys.argv[1]), open_store(sys.argv[2]))
"""


def test_killed_at_any_moment_it_goes_on_where_it_was(source, destination):
    draw = random.Random()  # other moments every time; what must hold, holds at each
    fill(source, **{f"{n % 7}/{n:04}": draw.randbytes(2400) for n in range(800)}, **{"3/big": draw.randbytes(40 << 20)})
    whole, there = contents(source), {}
    for point in sorted(draw.sample(range(len(whole)), 3)):
        killed_after(point, source, destination)
        before, there = there, contents_under_final_names(destination)
        assert before.items() <= there.items() <= whole.items()
    assert sync(source, destination) == SyncSummary(
        copied=len(whole) - len(there),
        copied_bytes=sum(map(len, whole.values())) - sum(map(len, there.values())),
        unchanged=len(there),
    )
    assert contents_under_final_names(destination) == whole


def killed_after(count, source, target):
    """Starts a sync and kills it when the target holds `count` files."""
    running = subprocess.Popen([sys.executable, "-c", SYNC, source.uri, target.uri])
    try:
        while running.poll() is None and sum(1 for _ in target.list()) < count:
            pass
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def contents_under_final_names(store):
    return {key: data for key, data in contents(store).items() if "/.imagemill-tmp-" not in f"/{key}"}
