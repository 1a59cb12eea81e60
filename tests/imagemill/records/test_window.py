import threading

import pytest

from imagemill.errors import TemporaryFault
from imagemill.records.window import DEFAULT_WINDOW, ReadWindow, read_ahead
from imagemill.storage import MissingObject, ObjectTooLarge, open_store


class Remote:
    """Objects in memory behind as many parallel reads as asked for; keeps count of what is in memory at once."""

    uri = "memory"

    def __init__(self, objects, parallel_reads=8):
        self.objects, self.parallel_reads = objects, parallel_reads
        self.held = self.most_held = 0
        self.reads, self.threads = [], set()
        self.before_read = lambda key: None
        self._lock = threading.Lock()

    def read(self, key, *, max_bytes=None):
        with self._lock:
            self.reads.append(key)
            self.threads.add(threading.get_ident())
        self.before_read(key)
        data = self.objects.get(key)
        if data is None:
            raise MissingObject(key)
        if max_bytes is not None and len(data) > max_bytes:
            raise ObjectTooLarge(key, len(data))
        with self._lock:
            self.held += len(data)
            self.most_held = max(self.most_held, self.held)
        return data

    def let_go(self, size):
        with self._lock:
            self.held -= size


def drain(store, keys, *, window=DEFAULT_WINDOW, max_bytes=1 << 20):
    for key, outcome in read_ahead(keys, key=str, store=store, window=window, max_bytes=max_bytes):
        yield key, outcome
        if isinstance(outcome, bytes):
            store.let_go(len(outcome))


def objects(count, size=10):
    return {f"k{number:04d}": bytes([number % 256]) * size for number in range(count)}


def test_order_is_kept_whatever_finishes_first():
    store = Remote(objects(100))
    second_read = threading.Event()

    def hold_the_first(key):
        if key == "k0001":
            second_read.set()
        elif key == "k0000":
            assert second_read.wait(10)

    store.before_read = hold_the_first
    assert list(drain(store, list(store.objects))) == list(store.objects.items())
    assert len(store.threads) > 1


def test_missing_and_too_large_are_outcomes():
    store = Remote({"large": b"x" * 11, "good": b"x" * 10})
    found = dict(drain(store, ["large", "gone", "good"], max_bytes=10))
    assert isinstance(found["gone"], MissingObject)
    assert isinstance(found["large"], ObjectTooLarge)
    assert found["large"].size == 11
    assert found["good"] == b"x" * 10


def test_objects_in_flight_are_bounded():
    store = Remote(objects(100))
    taken = []

    def keys():
        for key in store.objects:
            taken.append(key)
            yield key

    window = ReadWindow(objects=5)
    for number, _ in enumerate(read_ahead(keys(), key=str, store=store, window=window, max_bytes=100)):
        assert len(taken) <= number + 1 + 5


def test_bytes_in_flight_are_bounded_whatever_the_sizes():
    store = Remote(objects(200, size=1000) | {"k0050x": b"x" * 500_000})
    found = dict(drain(store, sorted(store.objects), window=ReadWindow(objects=8, bytes=16_000)))
    assert found == store.objects
    assert store.most_held <= 16_000 + 500_000
    small = Remote(objects(200, size=3000))
    assert dict(drain(small, sorted(small.objects), window=ReadWindow(objects=8, bytes=16_000))) == small.objects
    assert small.most_held <= 16_000 + 3000


def test_photographs_are_read_in_parallel_and_once():
    """Objects above their equal share of the window, but within what the threads may fetch together."""
    store = Remote(objects(64, size=3_000), parallel_reads=8)
    together = threading.Barrier(8)  # breaks, and so fails the test, unless eight are being read at once
    store.before_read = lambda key: together.wait(10) if key < "k0008" else None
    window = ReadWindow(objects=16, bytes=32_000)
    assert dict(drain(store, sorted(store.objects), window=window)) == store.objects
    assert sorted(store.reads) == sorted(store.objects), "no object was asked for twice"
    assert store.most_held <= window.bytes


def test_larger_objects_are_asked_for_twice_only_until_their_size_is_known():
    store = Remote(objects(100, size=10_000), parallel_reads=8)
    window = ReadWindow(objects=16, bytes=64_000)
    assert dict(drain(store, sorted(store.objects), window=window)) == store.objects
    twice = [key for key in store.objects if store.reads.count(key) > 1]
    assert twice == sorted(store.objects)[: len(twice)]
    assert 0 < len(twice) <= 8
    assert store.most_held <= window.bytes


def test_large_objects_are_read_again_in_parallel():
    store = Remote(objects(4, size=12_000))
    together = threading.Barrier(4)
    store.before_read = lambda key: together.wait(10) if store.reads.count(key) == 2 else None
    window = ReadWindow(objects=16, bytes=48_000)  # 6,000 for each of eight threads at first
    assert dict(drain(store, sorted(store.objects), window=window)) == store.objects
    assert len(store.reads) == 8
    assert store.most_held <= window.bytes


def test_one_huge_object_is_read_in_its_turn_beside_a_bounded_window():
    huge = {"k0007x": b"x" * 900_000, "k0007y": b"y" * 800_000}
    store = Remote(objects(50, size=1_000) | huge)
    window = ReadWindow(objects=8, bytes=16_000)
    assert dict(drain(store, sorted(store.objects), window=window)) == store.objects
    assert store.most_held <= window.bytes + 900_000, "two huge objects are never held at once"
    assert sum(store.reads.count(key) for key in huge) == 4
    assert len(store.reads) <= len(store.objects) + 2 + 8


def test_a_store_that_asks_for_one_read_at_a_time_gets_no_threads():
    store = Remote(objects(20), parallel_reads=1)
    assert dict(drain(store, sorted(store.objects))) == store.objects
    assert store.threads == {threading.get_ident()}


def test_a_fault_is_raised_in_its_turn_and_ends_the_reading():
    store = Remote(objects(1000), parallel_reads=2)

    def fail(key):
        if key == "k0003":
            raise TemporaryFault("the network")

    store.before_read = fail
    found = []
    with pytest.raises(TemporaryFault, match="the network"):
        found.extend(key for key, _ in drain(store, sorted(store.objects), window=ReadWindow(objects=50)))
    assert found == ["k0000", "k0001", "k0002"]
    assert len(store.reads) <= 3 + 50


def test_leaving_early_reads_no_more_than_the_window():
    store = Remote(objects(1000), parallel_reads=2)
    reading = drain(store, sorted(store.objects), window=ReadWindow(objects=50))
    assert next(reading)[0] == "k0000"
    reading.close()
    assert len(store.reads) <= 50


def test_threads_are_as_many_as_the_store_asks_for():
    store = Remote(objects(300), parallel_reads=3)
    assert dict(drain(store, sorted(store.objects))) == store.objects
    assert len(store.threads) <= 3


def test_a_real_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    outcomes = list(read_ahead(["a", "b"], key=str, store=open_store(tmp_path), window=ReadWindow(), max_bytes=9))
    assert outcomes[0] == ("a", b"one")
    assert isinstance(outcomes[1][1], MissingObject)


@pytest.mark.parametrize("bounds", [{"objects": 0}, {"bytes": 0}])
def test_a_window_has_room(bounds):
    with pytest.raises(ValueError, match="room for at least one"):
        ReadWindow(**bounds)
