import gzip
import hashlib
import io
from pathlib import Path

import google_crc32c
import pytest

from imagemill.accounting import CONTENT_MODULUS
from imagemill.errors import TemporaryFault
from imagemill.images import ImageFacts, RefusedImage
from imagemill.plan import ConversionSettings
from imagemill.records.digest import row_digest
from imagemill.records.example import decode_features
from imagemill.records.shard_index import ShardIndex
from imagemill.records.shard_writer import Reference, ShardFiles, make_record, record_order, write_shard
from imagemill.records.tfrecord import FRAMING_BYTES, read_records
from imagemill.rows import Reason, Rejected, Row
from imagemill.storage import open_store
from imagemill.version.facts import Extent
from tests.support.pictures import cases, encode, gradient, noise

FILES, COMPRESSED = (
    ShardFiles.named(dataset="pets", split="train", shard=3, shards=16, compression=each) for each in ("", "gzip")
)
LABELS = ("cat", "dog")
GOOD = [f"good/{number:03d} ü#.png" for number in range(50)]


def settings(**changes):
    return ConversionSettings(**({"split_fractions": {"train": 1.0}, "formats": ("png", "jpeg")} | changes))


def references(names):
    rows = [(Row(name, str(len(name) % 2)), len(name) % 2) for name in names]
    return sorted((Reference(row, label, LABELS[label]) for row, label in rows), key=record_order)


def put(root: Path, pictures):
    for name, data in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return open_store(root)


@pytest.fixture
def pictures():
    return {name: encode(noise().rotate(number), "PNG") for number, name in enumerate(GOOD)}


@pytest.fixture
def images(tmp_path, pictures):
    return put(tmp_path / "images", pictures)


@pytest.fixture
def output(tmp_path):
    return open_store(tmp_path / "version")


def write(names, *, images, output, **changes):
    files = COMPRESSED if changes.get("compression") else FILES
    return write_shard(references(names), files, images=images, output=output, settings=settings(**changes))


def test_every_image_becomes_a_record_in_the_order_of_the_hashes(images, output, pictures):
    report = write(GOOD, images=images, output=output)
    records = [decode_features(payload) for _, payload in read_records(io.BytesIO(output.read(FILES.data)))]
    assert [record["image/filename"][0].decode() for record in records] == [r.row.filename for r in references(GOOD)]
    for record in records:
        name = record["image/filename"][0].decode()
        data = pictures[name]
        assert record == {
            "image/channels": [3],
            "image/class/label": [len(name) % 2],
            "image/class/text": [LABELS[len(name) % 2].encode()],
            "image/encoded": [data],
            "image/filename": [name.encode()],
            "image/format": [b"png"],
            "image/height": [24],
            "image/key/sha256": [hashlib.sha256(data).hexdigest().encode()],
            "image/width": [32],
        }
    assert report.rejects == ()


def test_the_report_says_what_was_written(images, output, pictures):
    report = write(GOOD, images=images, output=output)
    data, index = output.read(FILES.data), output.read(FILES.index)
    for entry, written in ((report.entry, data), (report.entry.index, index)):
        assert (entry.bytes, entry.crc32c) == (len(written), f"{google_crc32c.value(written):08x}")
    assert (report.entry.name, report.entry.index.name) == (
        "pets-train.tfrecord-00003-of-00016",
        "pets-train.index-00003-of-00016",
    )
    assert (report.entry.split, report.entry.records) == ("train", 50)
    assert sum(report.entry.labels.values()) == 50
    assert list(report.entry.labels) == sorted(report.entry.labels)
    sizes = [len(picture) for picture in pictures.values()]
    assert report.images.bytes == Extent(min=min(sizes), max=max(sizes), sum=sum(sizes))
    assert report.images.height == Extent(min=24, max=24, sum=24 * 50)
    assert (report.images.records, report.images.formats, report.images.channels) == (50, {"png": 50}, {3: 50})


def test_turned_images_are_counted_and_left_alone(tmp_path, output):
    turned = next(data for name, data, _ in cases() if name == "jpeg with an orientation")
    images = put(tmp_path / "turned", {"turned.jpg": turned, "upright.jpg": encode(gradient(), "JPEG")})
    report = write(["turned.jpg", "upright.jpg"], images=images, output=output)
    assert report.images.orientations == {6: 1}
    assert (report.images.height.max, report.images.width.min) == (240, 320)
    assert turned in output.read(FILES.data)


def test_the_index_finds_every_record(images, output, pictures):
    report = write(GOOD, images=images, output=output)
    data, index = output.read(FILES.data), ShardIndex(output.read(FILES.index), where="")
    assert list(index) == list(report.index)
    found = dict(read_records(io.BytesIO(data)))
    for name, picture in pictures.items():
        entry = index[index.find(name)]
        payload = found[entry.offset]
        assert entry.length == len(payload) + FRAMING_BYTES
        assert decode_features(payload)["image/filename"] == [name.encode()]
        assert entry.crc32c == google_crc32c.value(picture)
        assert entry.sha256 == hashlib.sha256(picture).digest()
        assert entry.label == len(name) % 2


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_writing_again_writes_the_same_bytes(images, output, compression):
    reports = [write(GOOD, images=images, output=output, compression=compression).entry for _ in range(2)]
    assert reports[0] == reports[1]


class Reordered:
    """A store whose reads go through threads, as those of an object store do."""

    parallel_reads = 8

    def __init__(self, store):
        self._store, self.uri = store, store.uri

    def read(self, key, *, max_bytes=None):
        return self._store.read(key, max_bytes=max_bytes)


def test_threads_change_no_byte(images, output):
    alone = write(GOOD, images=images, output=output).entry
    assert write(GOOD, images=Reordered(images), output=output).entry == alone


@pytest.mark.parametrize(
    ("compression", "digest"),
    [
        ("", "4dd2b48cf131b21e835942110b82622bdf2ae2b0c7e849305b2a9bef0bd1c25b"),
        (
            "gzip",
            "b0dc3f8ee00684691a3346bafcddbdcd01e7c3a94066a95c77b94fb12107e12c",
        ),  # as zlib compresses; another implementation may write other bytes
    ],
)
def test_a_golden_digest(images, output, compression, digest):
    """A change here is a change of format: give it a new FORMAT_VERSION."""
    made = put(Path(images.uri), {"a.png": bytes.fromhex(ONE_PIXEL), "b/c.png": bytes.fromhex(ONE_PIXEL)})
    report = write(["a.png", "b/c.png"], images=made, output=output, compression=compression)
    written = output.read(report.entry.name) + output.read(report.entry.index.name)
    assert report.entry.records == 2
    assert hashlib.sha256(written).hexdigest() == digest


ONE_PIXEL = (
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


def test_gzip_is_one_stream_and_offsets_are_those_of_its_content(images, output):
    plain = write(GOOD, images=images, output=output)
    content = output.read(FILES.data)
    packed = write(GOOD, images=images, output=output, compression="gzip")
    assert gzip.decompress(output.read(COMPRESSED.data)) == content
    assert list(packed.index) == list(plain.index)
    assert packed.entry.bytes == len(output.read(COMPRESSED.data))
    assert packed.entry.crc32c == f"{google_crc32c.value(output.read(COMPRESSED.data)):08x}"


BAD = {
    "bad/empty.png": (b"", Reason.EMPTY),
    "bad/text.png": (b"hello, I am text", Reason.NOT_AN_IMAGE),
    "bad/cut.png": (encode(noise(), "PNG")[:-20], Reason.TRUNCATED),
    "bad/bits.png": (encode(noise(), "PNG").replace(b"IDAT", b"IDAX"), Reason.UNDECODABLE),
    "bad/moving.gif": (encode(noise("P"), "GIF"), Reason.FORMAT_NOT_ALLOWED),
    "bad/many.png": (encode(gradient(), "PNG"), Reason.TOO_LARGE),
    "bad/heavy.bmp": (b"BM" + b"x" * 10_000, Reason.TOO_LARGE),
}
LIMITS = {"max_image_pixels": 320 * 240 - 1, "max_image_bytes": 9_999}


def test_bad_images_are_rejected_and_the_rest_is_written(images, output):
    put(Path(images.uri), {name: data for name, (data, _) in BAD.items()})
    report = write([*GOOD, *BAD, "gone.png"], images=images, output=output, **LIMITS)
    assert report.entry.records == len(GOOD)
    assert {rejected.key: rejected.reason for rejected in report.rejects} == {
        "gone.png": Reason.MISSING,
        **{name: reason for name, (_, reason) in BAD.items()},
    }
    for rejected in report.rejects:
        label = len(rejected.key) % 2
        expected = Rejected(
            rejected.key, f"{rejected.key},{label}", rejected.reason, rejected.detail, "train", LABELS[label]
        )
        assert rejected == expected
        assert rejected.detail


def test_content_covers_every_row_as_planning_sees_it(images, output, pictures):
    put(Path(images.uri), {name: data for name, (data, _) in BAD.items()})
    names = [*GOOD, *BAD, "gone.png"]
    report = write(names, images=images, output=output, **LIMITS)
    every = pictures | {name: data for name, (data, _) in BAD.items()}
    expected = row_digest(next(r.row for r in references(names) if r.row.filename == "gone.png"))
    for reference in references(every):
        data = every[reference.row.filename]
        crc32c = -1 if len(data) > LIMITS["max_image_bytes"] else google_crc32c.value(data)
        expected += row_digest(reference.row, size=len(data), crc32c=crc32c)
    assert report.content == expected % CONTENT_MODULUS


def test_a_shard_may_be_empty(images, output):
    report = write([], images=images, output=output)
    assert output.read(FILES.data) == b""
    assert (report.entry.records, report.entry.bytes, report.entry.labels, len(report.index)) == (0, 0, {}, 0)
    assert (report.content, report.images.records) == (0, 0)


@pytest.mark.parametrize("names", [GOOD[:2][::-1], [GOOD[0], GOOD[0]]])
def test_disorder_and_repeated_keys_are_the_caller_s_mistake(images, output, names):
    rows = references(GOOD[:2])
    given = [rows[1], rows[0]] if names[0] != names[1] else [rows[0], rows[0]]
    with pytest.raises(ValueError, match="sort by `record_order`"):
        write_shard(given, FILES, images=images, output=output, settings=settings())


class Failing(Reordered):
    def read(self, key, *, max_bytes=None):
        if key == references(GOOD)[30].row.filename:
            raise TemporaryFault("the network")
        return super().read(key, max_bytes=max_bytes)


def test_a_fault_leaves_nothing(images, output):
    with pytest.raises(TemporaryFault, match="the network"):
        write(GOOD, images=Failing(images), output=output)
    assert list(output.list()) == []


MISSED = next(data for name, data, _ in cases() if name == "png rows missing")


def test_decode_verification_is_a_setting():
    reference = references(["a.png"])[0]
    assert make_record(reference, MISSED, settings=settings()).facts == ImageFacts("png", 4, 4, 1)
    with pytest.raises(RefusedImage, match="undecodable"):
        make_record(reference, MISSED, settings=settings(verification="decode"))
