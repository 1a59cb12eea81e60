import json
import os
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import google_crc32c
import pytest

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import ABSENT, MissingObject, ObjectInfo, ObjectTooLarge, PreconditionFailed, open_store
from imagemill.storage.google_upload import CHUNK_BYTES
from tests.support.gcs.faults import Rule

HOSTILE = [
    "a b",
    "#%?+&'\",",
    "50%25",
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
    "\uffff",
    "n" * 1000,
]

MISLEADING = [
    "status code: 503.png",
    "NoSuchBucket.png",
    "The specified bucket does not exist.",
    "x - Server returned non-2xx status code: 503 Service Unavailable: <Code>NoSuchBucket<.png",
    "quota for user project of a requester pays bucket",
]
"""Names that read like what a service answers."""


def metadata(service, key):
    """What the service itself says of an object, asked without imagemill."""
    bucket = service.bucket.removeprefix("gs://")
    with urllib.request.urlopen(f"{service.gcs.url}/storage/v1/b/{bucket}/o/{quote(key, safe='')}") as answer:
        return json.load(answer)


@pytest.fixture
def store(service):
    return service.store("some/prefix")


@pytest.mark.parametrize("key", [*HOSTILE, *MISLEADING])
def test_hostile_names_come_back(service, store, key):
    written = store.write(key, b"content")
    assert store.read(key) == b"content"
    assert store.read_range(key, 3, 100) == b"tent"
    assert metadata(service, f"some/prefix/{key}")["size"] == "7"
    assert list(store.list()) == [ObjectInfo(key, 7, google_crc32c.value(b"content"))]
    assert store.stat(key, checksum=True) == written
    store.delete(key)
    assert list(store.list()) == []


def test_names_that_differ_in_form_alone_stay_apart(store):
    for key in ("é", "e\u0301", "x", "x/y", "X"):
        store.write(key, key.encode())
    assert {info.key: store.read(info.key) for info in store.list()} == {
        key: key.encode() for key in ("é", "e\u0301", "x", "x/y", "X")
    }


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/out", "a//b", "", "a\nb", "\ud800", "n" * 1025])
def test_a_name_that_no_store_can_hold_is_refused(store, key):
    with pytest.raises(CallerError, match="rename it"):
        store.write(key, b"")
    with pytest.raises(CallerError, match="rename it"), store.writer(key):
        pass
    with pytest.raises(CallerError):
        store.read(key)
    with pytest.raises(CallerError, match="no prefix"):
        list(store.list("../"))


def test_prefix_and_key_together_must_fit(service):
    with pytest.raises(CallerError, match="more than 1024"):
        service.store("p" * 600).write("k" * 600, b"")


def test_a_listing_is_sorted_by_bytes_and_stays_below_its_prefix(service, store):
    names = ["a-b", "a.b", "a/b", "ab", "b", "é", "\uffff", "\U0001f600"]
    for name in names:
        store.write(name, b"")
    service.store().write("some/prefixed", b"outside")
    assert [info.key for info in store.list()] == sorted(names, key=str.encode)
    assert [info.key for info in store.list("a")] == ["a-b", "a.b", "a/b", "ab"]
    assert [info.key for info in store.list("a/")] == ["a/b"]
    assert [info.key for info in service.store().list("some/p")][-1] == "some/prefixed"


def test_marks_of_folders_are_no_objects(service, store):
    urllib.request.urlopen(
        urllib.request.Request(
            f"{service.gcs.url}/upload/storage/v1/b/{service.bucket[5:]}/o?uploadType=media&name=some/prefix/folder/",
            b"",
        )
    ).close()
    store.write("x", b"1")
    assert [info.key for info in store.list()] == ["x"]


def test_listings_come_in_pages_and_each_page_is_asked_for_once(service, store):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.write(f"{n:05}", b""), range(1001)))
    service.gcs.strike()
    assert [info.key for info in store.list()] == [f"{n:05}" for n in range(1001)]
    assert service.gcs.seen() == {"list": 2}


@pytest.mark.parametrize("key", ["missing", *HOSTILE, *MISLEADING])
def test_what_is_not_there(service, store, key):
    for call in (store.read, lambda key: store.read_range(key, 0, 1), lambda key: store.read_range(key, 0, 0)):
        with pytest.raises(MissingObject, match="no such object"):
            call(key)
    assert store.stat(key) is None
    assert list(store.list(key)) == []
    store.delete(key)


def test_size_is_decided_before_the_body_is_read(service, store):
    store.write("x", b"12345")
    assert store.read("x", max_bytes=5) == b"12345"
    service.gcs.strike(Rule(kind="slow body", operation="read", seconds=30))
    with pytest.raises(ObjectTooLarge, match="5 bytes, more than 4") as error:
        store.read("x", max_bytes=4)
    assert error.value.size == 5


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, b"012"), (8, 5, b"89"), (10, 1, b""), (20, 1, b""), (3, 0, b""), (0, 1 << 60, b"0123456789")],
)
def test_ranges(store, offset, length, expected):
    store.write("x", b"0123456789")
    assert store.read_range("x", offset, length) == expected


def test_a_negative_range_is_a_bug(store):
    with pytest.raises(ValueError, match="not negative"):
        store.read_range("x", -1, 1)


def test_conditional_writes(store):
    first = store.write("x", b"1", if_generation=ABSENT)
    with pytest.raises(PreconditionFailed, match="somebody else"):
        store.write("x", b"2", if_generation=ABSENT)
    second = store.write("x", b"2", if_generation=first.generation)
    with pytest.raises(PreconditionFailed, match="somebody else"):
        store.write("x", b"3", if_generation=first.generation)
    assert store.stat("x") == second
    assert store.read("x") == b"2"


def test_of_many_conditional_writers_one_wins(store):
    before = store.write("x", b"").generation
    start = threading.Barrier(8)

    def attempt(number):
        start.wait()
        try:
            return store.write("x", b"%d" % number, if_generation=before)
        except PreconditionFailed:
            return None

    with ThreadPoolExecutor(8) as pool:
        wins = [won for won in pool.map(attempt, range(8)) if won]
    assert len(wins) == 1
    assert store.stat("x") == wins[0]


def test_content_type_and_cache_control(service):
    service.store().write("a/x.PNG", b"1")
    assert metadata(service, "a/x.PNG")["contentType"] == "image/png"
    assert metadata(service, "a/x.PNG")["cacheControl"] == "no-cache"
    store = service.store(storage_cache_control="public, max-age=60")
    with store.writer("big.html") as target:
        target.write(bytes(CHUNK_BYTES + 1))
    assert metadata(service, "big.html")["contentType"].startswith("text/html")
    assert metadata(service, "big.html")["cacheControl"] == "public, max-age=60"


@pytest.mark.parametrize("size", [0, 5, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 7])
def test_a_streamed_object_is_what_was_written(store, size):
    data = os.urandom(size)
    with store.writer("x") as target:
        for start in range(0, size, 1 << 20):
            target.write(data[start : start + (1 << 20)])
        assert store.stat("x") is None
    assert store.read("x") == data
    assert store.stat("x").crc32c == google_crc32c.value(data)


@pytest.mark.parametrize("size", [5, CHUNK_BYTES * 2])
def test_a_stream_that_ends_badly_leaves_nothing(store, size):
    store.write("old", b"old")
    for key in ("new", "old"):
        with pytest.raises(KeyError), store.writer(key) as target:
            target.write(bytes(size))
            raise KeyError
    assert [info.key for info in store.list()] == ["old"]
    assert store.read("old") == b"old"


def test_a_copy_between_buckets_happens_on_the_server(service, store):
    other = service.store("copies", bucket=service.make_bucket())
    written = store.write("a b/é", b"content")
    service.gcs.strike()
    copied = other.copy_in(f"{store.uri}/a b/é", "x")
    assert service.gcs.seen() == {"copy": 1}
    assert (copied.size, copied.crc32c) == (7, written.crc32c)
    assert other.read("x") == b"content"
    with pytest.raises(MissingObject):
        other.copy_in(f"{store.uri}/missing", "y")


def test_a_copy_in_several_steps_goes_on_where_it_was(service, store):
    store.write("x", b"content")
    service.gcs.strike(Rule(kind="unfinished", operation="copy", times=2))
    store.copy_in(f"{store.uri}/x", "y")
    assert [request.part for request in service.gcs.asked("copy")] == ["", "go on", "go on"]
    assert store.read("y") == b"content"


@pytest.mark.parametrize(
    "fault",
    [
        Rule(kind="status", status=503, times=2),
        Rule(kind="reset", times=2),
        Rule(kind="lost answer", times=2),
        Rule(kind="reset in body"),
        Rule(kind="short body"),
        Rule(kind="corrupt"),
    ],
    ids=lambda rule: rule.kind,
)
def test_a_fault_of_a_copy_that_passes_changes_no_byte(service, store, fault):
    store.write("x", b"content")
    service.gcs.strike(Rule(**fault.to_json() | {"operation": "copy"}))
    store.copy_in(f"{store.uri}/x", "y")
    assert service.gcs.struck() == fault.times
    assert store.read("y") == b"content"


def test_a_copy_is_described_as_what_is_written(service, store):
    store.write("x.png", b"content")
    service.store("copies", storage_cache_control="max-age=60").copy_in(f"{store.uri}/x.png", "y.png")
    found = metadata(service, "copies/y.png")
    assert (found["contentType"], found["cacheControl"]) == ("image/png", "max-age=60")


def test_a_copy_from_and_to_a_folder(service, store, tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    assert store.copy_in(str(tmp_path / "x"), "up").crc32c == google_crc32c.value(b"content")
    assert store.read("up") == b"content"


class TestRoots:
    def test_a_prefix_with_objects_will_do(self, store):
        store.write("x", b"")
        store.require_root()
        store.require_target()

    def test_nothing_is_no_source_but_a_target(self, store):
        store.require_target()
        with pytest.raises(MissingObject, match="holds no object"):
            store.require_root()

    def test_an_object_is_neither(self, service, store):
        store.write("x", b"")
        for prove in ("require_root", "require_target"):
            with pytest.raises(CallerError, match="is an object"):
                getattr(service.store("some/prefix/x"), prove)()


class TestBucketThatIsNotThere:
    @pytest.fixture
    def nowhere(self, service):
        return open_store("gs://no-such-bucket/x", settings=service.settings)

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.read("x"),
            lambda store: store.read_range("x", 0, 1),
            lambda store: store.stat("x"),
            lambda store: list(store.list()),
            lambda store: store.write("x", b""),
            lambda store: store.delete("x"),
            lambda store: store.require_root(),
            lambda store: store.copy_in("gs://no-such-bucket/x", "y"),
        ],
    )
    def test_every_operation_says_so(self, nowhere, call):
        with pytest.raises(CallerError, match="there is no bucket gs://no-such-bucket; create it") as error:
            call(nowhere)
        assert not isinstance(error.value, MissingObject | TemporaryFault)

    def test_a_long_stream_says_so(self, nowhere):
        with pytest.raises(CallerError, match="there is no bucket"), nowhere.writer("x") as target:
            target.write(bytes(CHUNK_BYTES + 1))
