import gzip

import pytest

from imagemill.errors import UnusableData
from imagemill.storage import open_store
from imagemill.storage.object_file import WINDOW_BYTES, open_object

CONTENT = bytes(range(256)) * (WINDOW_BYTES // 256) + b"beyond one window"


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def test_an_object_reads_as_a_file(store):
    store.write("x", CONTENT)
    with open_object(store, "x") as file:
        assert file.read(10) == CONTENT[:10]
        assert file.read() == CONTENT[10:]
        assert file.read(1) == b""


def test_gzip_is_decompressed_on_the_way(store):
    store.write("x.gz", gzip.compress(CONTENT, 1))
    with open_object(store, "x.gz", compression="gzip") as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-100], id="cut"),
        pytest.param(lambda data: b"junk" + data, id="no gzip"),
        pytest.param(lambda data: data + b"junk", id="something behind it"),
        pytest.param(lambda data: data[:-5] + b"\0" + data[-4:], id="another checksum"),
    ],
)
def test_what_does_not_decompress_is_unusable_data_by_name(store, damage):
    store.write("x.gz", damage(gzip.compress(CONTENT, 1)))
    with (
        pytest.raises(UnusableData, match=r"/x\.gz: does not decompress: "),
        open_object(store, "x.gz", compression="gzip") as file,
    ):
        file.read()
