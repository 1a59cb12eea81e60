import google_crc32c
import pytest

from imagemill.conversion import reject_lines
from imagemill.conversion.batches import Carried
from imagemill.conversion.reject_lines import write_rejects
from imagemill.storage import open_store
from imagemill.version.files import REJECTS


@pytest.mark.parametrize("held_bytes", [1, 8, 1000], ids=["a range at a time", "some at a time", "all at once"])
def test_every_range_is_written_once_and_in_order_however_few_are_held(tmp_path, monkeypatch, held_bytes):
    monkeypatch.setattr(reject_lines, "HELD_BYTES", held_bytes)
    version = open_store(tmp_path / "version")
    ranges = [(3, b"f\n"), (0, b"a\nb\n"), (4, b""), (2, b"d\ne\n"), (1, b"c\n")]
    entry = write_rejects(ranges, batches=Carried(), version=version)
    written = version.read(REJECTS)
    assert written == b"a\nb\nc\nd\ne\nf\n"
    assert (entry.bytes, entry.crc32c) == (len(written), f"{google_crc32c.value(written):08x}")
