import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.conversion.blocks import Block, cut_blocks, read_lines
from imagemill.errors import CallerError
from imagemill.index import iter_lines
from imagemill.storage import open_store

PIECES = st.sampled_from(
    [
        b"a.png,cat",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        "ü/ö.png,x".encode(),
        b"\xff\xfe",
        b'"a,b",c',
        b"filename,label",
    ]
)


def lines_of(folder, data, block_bytes):
    (folder / "index.csv").write_bytes(data)
    store = open_store(str(folder))
    return [line for block in cut_blocks(len(data), block_bytes) for line in read_lines(store, "index.csv", block)]


@given(pieces=st.lists(PIECES, max_size=30), block_bytes=st.integers(1, 40))
def test_lines_do_not_depend_on_the_blocks(tmp_path_factory, pieces, block_bytes):
    data = b"first.png,dog\n" + b"".join(pieces)
    folder = tmp_path_factory.mktemp("index", numbered=True)
    assert lines_of(folder, data, block_bytes) == list(iter_lines([data]))


def test_lines_longer_than_a_read(tmp_path):
    data = b"a.png,x\n" + b"b" * 3_000_000 + b",y\nc.png,z"
    for block_bytes in (10, 1 << 20, 1 << 30):
        if block_bytes > 10:
            first, middle, last = lines_of(tmp_path, data, block_bytes)
            assert (first, last) == ("a.png,x", "c.png,z")
            assert middle.startswith("bbbb")


def test_a_header_is_no_row(tmp_path):
    data = b"\xef\xbb\xbffilename,label,split\r\na.png,cat\r\n"
    for block_bytes in (1, 20, 1000):
        assert lines_of(tmp_path, data, block_bytes) == ["a.png,cat"]


def test_a_header_in_another_order_is_the_callers_mistake(tmp_path):
    with pytest.raises(CallerError, match=r"index\.csv: column 'weight' stands where 'split' belongs"):
        lines_of(tmp_path, b"filename,label,weight\na.png,cat,3\n", 1000)


def test_blocks_cover_the_file():
    assert cut_blocks(10, 4) == [Block(0, 3), Block(3, 3), Block(6, 4)]
    assert cut_blocks(0, 4) == [Block(0, 0)]
    assert cut_blocks(4, 4) == [Block(0, 4)]
