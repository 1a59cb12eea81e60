import io
import pickle
import struct

import pytest

from imagemill.records.tfrecord import FRAMING_BYTES, CorruptRecord, frame, masked_crc, read_records, unframe

PAYLOADS = [b"first", b"", b"the third"]
FILE = b"".join(map(frame, PAYLOADS))
THIRD = 5 + 2 * FRAMING_BYTES


def records(data):
    return list(read_records(io.BytesIO(data), where="a.tfrecord"))


def flipped(data, position):
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_reads_offsets_and_payloads():
    assert records(FILE) == [(0, b"first"), (21, b""), (THIRD, b"the third")]
    assert records(b"") == []


@pytest.mark.parametrize("cut", range(1, len(frame(b"the third"))))
def test_a_truncated_tail_names_its_record(cut):
    with pytest.raises(CorruptRecord, match=f"a.tfrecord: byte offset {THIRD}: the file ends") as caught:
        records(FILE[:-cut])
    assert caught.value.offset == THIRD


@pytest.mark.parametrize("position", range(THIRD, len(FILE)))
def test_every_flipped_bit_is_found(position):
    with pytest.raises(CorruptRecord, match=f"byte offset {THIRD}: the checksum of the record's") as caught:
        records(flipped(FILE, position))
    assert caught.value.offset == THIRD


def test_good_records_before_a_bad_one_are_read():
    found = read_records(io.BytesIO(FILE[:-1]))
    assert [next(found), next(found)] == [(0, b"first"), (21, b"")]


def test_a_hostile_length_is_not_allocated():
    length = struct.pack("<Q", 1 << 62)
    with pytest.raises(CorruptRecord, match="the file ends 46116860184273"):
        records(length + struct.pack("<I", masked_crc(length)) + b"short")


class Trickle(io.RawIOBase):
    """Gives at most three bytes at a time, as a socket may."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, size=-1):
        return self._file.read(min(size, 3))


def test_short_reads_are_fine():
    assert [payload for _, payload in read_records(Trickle(FILE))] == PAYLOADS


def test_unframe():
    assert unframe(frame(b"one"), where="a", offset=0) == b"one"


@pytest.mark.parametrize("record", [b"", frame(b"one")[:14], frame(b"one")[:-1], frame(b"one") + b"x"])
def test_unframe_takes_exactly_one_record(record):
    with pytest.raises(CorruptRecord, match="a: byte offset 7: "):
        unframe(record, where="a", offset=7)


@pytest.mark.parametrize("position", range(len(frame(b"one"))))
def test_unframe_finds_every_flipped_bit(position):
    with pytest.raises(CorruptRecord, match="checksum"):
        unframe(flipped(frame(b"one"), position), where="a", offset=7)


def test_the_error_crosses_processes():
    error = pickle.loads(pickle.dumps(CorruptRecord("torn", where="a", offset=3)))
    assert (str(error), error.offset) == ("a: byte offset 3: torn", 3)
