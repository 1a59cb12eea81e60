"""Two writers of one shard at once, and one that is killed: in a folder and in an object store."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagemill.plan import ConversionSettings
from imagemill.records.shard_writer import Reference, ShardFiles, record_order, write_shard
from imagemill.records.verify import verify_shard
from imagemill.rows import Row
from imagemill.storage import open_store
from imagemill.storage.google_upload import CHUNK_BYTES
from tests.support.gcs.server import client_environment, emulator
from tests.support.pictures import chunk, encode, noise

FILES = ShardFiles.named(dataset="pets", split="train", shard=0, shards=1)
IMAGES = 20
IMAGE_BYTES = 1 << 20
assert (IMAGES - 1) * IMAGE_BYTES > 2 * CHUNK_BYTES, "a bucket has a part of the shard when its writer dies"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """PNG with a mebibyte of comment each."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        data = encode(noise().rotate(number), "PNG")
        comment = chunk(b"coMm", bytes([number]) * IMAGE_BYTES)
        (folder / f"{number}.png").write_bytes(data[:33] + comment + data[33:])
    return folder


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), backend="memory", buckets=["made"]) as running:
        yield running


@pytest.fixture(params=["folder", "bucket"])
def output(request, tmp_path, monkeypatch):
    """The URI of a place for the shard."""
    if request.param == "folder":
        return str(tmp_path / "version")
    for name, value in client_environment(request.getfixturevalue("gcs").url).items():
        monkeypatch.setenv(name, value)
    return f"gs://made/{request.node.name}"


def write(images, output):
    references = [Reference(Row(f"{number}.png", "cat"), 0, "cat") for number in range(IMAGES)]
    settings = ConversionSettings(split_fractions={"train": 1.0})
    return write_shard(sorted(references, key=record_order), FILES, images=images, output=output, settings=settings)


class Watched:
    """A folder's images, one at a time; `before_read` is called with how many were read."""

    parallel_reads = 1

    def __init__(self, folder, before_read):
        self._store, self._before_read, self._count = open_store(folder), before_read, 0
        self.uri = self._store.uri

    def read(self, key, *, max_bytes=None):
        self._before_read(self._count)
        self._count += 1
        return self._store.read(key, max_bytes=max_bytes)


@pytest.fixture
def calm(images, tmp_path):
    """The shard and index as an undisturbed writer leaves them."""
    store = open_store(tmp_path / "calm")
    write(open_store(images), store)
    return {info.key: store.read(info.key) for info in store.list()}


def contents(output):
    store = open_store(output)
    return {info.key: store.read(info.key) for info in store.list()}


def test_two_writers_of_one_shard_at_once_leave_one_shard(images, output, calm):
    together = threading.Barrier(2)  # at the first image and at the last: neither is done before the other began

    def meet(count):
        if count in (0, IMAGES - 1):
            together.wait(60)

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, Watched(images, meet), open_store(output)) for _ in range(2)]
        first, second = (writer.result() for writer in writers)
    assert first.entry == second.entry
    assert contents(output) == calm
    assert verify_shard(f"{output}/{FILES.data}") == IMAGES


def die_at_the_last(count):
    if count == IMAGES - 1:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_killed_in_the_middle_leaves_nothing_that_could_be_taken_for_a_shard(images, output, calm):
    script = (
        "import sys\nfrom imagemill.storage import open_store\n"
        f"from {__name__} import Watched, die_at_the_last, write\n"
        "write(Watched(sys.argv[1], die_at_the_last), open_store(sys.argv[2]))"
    )
    ended = subprocess.run([sys.executable, "-c", script, images, output], env=os.environ | PATHS, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert contents(output) == {}
    assert list(Path(output).glob("*.tfrecord-*")) == [], "what training globs for"
    write(open_store(images), open_store(output))
    assert contents(output) == calm


PATHS = {"PYTHONPATH": str(Path(__file__).parents[3])}
