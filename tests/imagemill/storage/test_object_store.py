"""What all object stores share, on obstore's own store in memory: as S3 and Azure it has no listing with checksums."""

from types import SimpleNamespace

import google_crc32c
import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import MemoryStore

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import ABSENT, MissingObject, ObjectInfo, ObjectTooLarge, PreconditionFailed, open_store
from imagemill.storage.object_client import ObjectClient
from imagemill.storage.object_store import PIECE_BYTES, ObjectStore
from imagemill.storage.object_upload import content_type
from imagemill.storage.settings import ObjectStoreSettings


@pytest.fixture
def client():
    client = ObjectClient("s3", "bucket", ObjectStoreSettings(storage_deadline_seconds=1, storage_pause_seconds=0.01))
    client.backend = MemoryStore()
    return client


@pytest.fixture
def store(client):
    return ObjectStore(client, "some/prefix")


def test_an_object_is_what_was_written(store):
    written = store.write("a b/é", b"content")
    assert (written.size, written.crc32c) == (7, google_crc32c.value(b"content"))
    assert store.read("a b/é") == b"content"
    assert store.read_range("a b/é", 3, 100) == b"tent"
    assert store.stat("a b/é", checksum=True) == written
    assert list(store.list(checksums=True)) == [ObjectInfo("a b/é", 7, written.crc32c)]
    assert [info.crc32c for info in store.list()] == [None]
    store.delete("a b/é")
    assert store.stat("a b/é") is None
    store.delete("a b/é")


def test_what_is_refused(store):
    store.write("x", b"12345")
    with pytest.raises(ObjectTooLarge):
        store.read("x", max_bytes=4)
    with pytest.raises(MissingObject):
        store.read("y")
    with pytest.raises(CallerError, match="rename it"):
        store.write("../y", b"")


def test_conditional_writes(store):
    first = store.write("x", b"1", if_generation=ABSENT)
    with pytest.raises(PreconditionFailed):
        store.write("x", b"2", if_generation=ABSENT)
    store.write("x", b"2", if_generation=first.generation)
    with pytest.raises(PreconditionFailed):
        store.write("x", b"3", if_generation=first.generation)
    assert store.read("x") == b"2"


@pytest.mark.timeout(30)
def test_what_no_tag_proves_is_read_back_where_one_request_runs_at_once():
    client = ObjectClient("s3", "bucket", ObjectStoreSettings(storage_parallel=1))
    client.backend = MemoryStore()
    store = ObjectStore(client, "")
    store.write("x", b"1")
    with store.writer("y") as target:
        target.write(b"2")
    assert [info.key for info in store.list()] == ["x", "y"]


@pytest.fixture
def tagged(monkeypatch):
    """A service whose entity tags look like an MD5 and are none, as S3's where a bucket has a key of its own."""
    tag, put, get = f'"{"0" * 32}"', obstore.put, obstore.get

    def tagging(*arguments, **options):
        return {**put(*arguments, **options), "e_tag": tag}

    def telling(*arguments, **options):
        found = get(*arguments, **options)
        return SimpleNamespace(meta={**found.meta, "e_tag": tag}, bytes=found.bytes)

    monkeypatch.setattr(obstore, "put", tagging)
    monkeypatch.setattr(obstore, "get", telling)


def test_a_tag_that_only_looks_like_a_digest_proves_no_damage(tagged, store):
    assert store.write("x", b"content").crc32c == google_crc32c.value(b"content")
    assert store.read("x") == b"content"


def test_what_is_read_back_is_compared_with_what_was_sent(store, monkeypatch):
    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda backend, name, data, **options: put(backend, name, b"?", **options))
    with pytest.raises(TemporaryFault, match=r"s3://bucket/some/prefix/x: what is stored is not what was sent"):
        store.write("x", b"1")


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, b"012"), (8, 5, b"89"), (10, 1, b""), (20, 1, b""), (3, 0, b""), (0, 1 << 60, b"0123456789")],
)
def test_ranges(store, offset, length, expected):
    store.write("x", b"0123456789")
    assert store.read_range("x", offset, length) == expected


def test_an_endpoint_of_the_environment_may_be_plain_http(service, monkeypatch):
    # The emulator reads as S3 does: by the bucket and the name in the path.
    service.store("some/prefix").write("x", b"content")
    monkeypatch.setenv("AWS_ENDPOINT_URL", service.gcs.url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "name")
    settings = ObjectStoreSettings(storage_deadline_seconds=5)
    assert open_store(f"s3{service.bucket[2:]}/some/prefix", settings=settings).read("x") == b"content"


@pytest.mark.parametrize("size", [0, 5, 2 * PIECE_BYTES + 7])
def test_a_stream_appears_whole_or_not_at_all(store, size):
    with store.writer("x") as target:
        target.write(bytes(size))
        assert store.stat("x") is None
    assert store.stat("x", checksum=True).crc32c == google_crc32c.value(bytes(size))
    with pytest.raises(KeyError), store.writer("y") as target:
        target.write(bytes(size))
        raise KeyError
    assert store.stat("y") is None


def test_a_listing_takes_any_beginning_of_a_key(client, store):
    for key in ("a-b", "a/b", "ab", "b"):
        store.write(key, b"")
    obstore.put(client.backend, "some/prefixed", b"outside")
    assert [info.key for info in store.list()] == ["a-b", "a/b", "ab", "b"]
    assert [info.key for info in store.list("a")] == ["a-b", "a/b", "ab"]


def test_a_listing_of_many_pages(client, store):
    names = [f"{n:05}" for n in range(2500)]
    for name in names:
        obstore.put(client.backend, f"some/prefix/{name}", b"")
    assert [info.key for info in store.list()] == names


def test_a_listing_that_breaks_off_is_not_taken_for_whole(client, store, monkeypatch):
    names = [f"{n:05}" for n in range(120)]
    for name in names:
        obstore.put(client.backend, f"some/prefix/{name}", b"")
    listing, breaks = obstore.list, [2, 1, 0]

    def breaking(backend, folder, offset=None):
        pages, whole = listing(backend, folder, offset=offset, chunk_size=50), breaks.pop(0)
        for _ in range(whole):
            yield next(pages)
        if breaks:
            raise GenericError("the connection broke")
        yield from pages

    monkeypatch.setattr(obstore, "list", breaking)
    assert [info.key for info in store.list()] == names
    assert not breaks


def test_a_copy_within_the_bucket_stays_on_the_server(store):
    store.write("x", b"1")
    assert store.copy_in("s3://bucket/some/prefix/x", "y").crc32c == google_crc32c.value(b"1")
    assert store.read("y") == b"1"


@pytest.mark.parametrize("uri", ["s3://bucket/prefix", "az://bucket/prefix"])
def test_other_services_open_with_the_credentials_of_the_environment(monkeypatch, uri):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.setenv(name, "name")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    settings = ObjectStoreSettings()
    assert open_store(uri, settings=settings).uri == uri


def test_what_the_environment_lacks_is_the_callers_mistake(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(CallerError, match="Account must be specified"):
        open_store("az://nowhere", settings=ObjectStoreSettings())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/x.png", "image/png"),
        ("x.JPG", "image/jpeg"),
        ("index.csv", "text/csv; charset=utf-8"),
        ("manifest.json", "application/json"),
        ("dots-train.tfrecord-00000-of-00001", "application/octet-stream"),
        ("CURRENT", "application/octet-stream"),
    ],
)
def test_content_types_follow_the_name(name, expected):
    assert content_type(name) == expected
