"""TensorFlow reads versions back; the only file here that starts it, for it takes seconds to import."""

import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image

from imagemill.plan import ConversionSettings
from imagemill.quality.report import Verdict
from imagemill.quality.sampling import draw
from imagemill.quality.validate import validate_version
from imagemill.records.shard_index import ShardIndex
from imagemill.rows import Row
from imagemill.spec import Validation
from tests.support.tampering import (
    edit_records,
    flip_bit,
    index_of,
    manifest_of,
    offsets,
    payload_position,
    reseal,
    shard,
)
from tests.support.versions import build_version, picture

FORMATS = ("png", "jpeg", "gif", "webp", "bmp")


@pytest.fixture
def version(tmp_path):
    rows = [Row(f"{number}.{kind}", kind, "train") for number, kind in enumerate(FORMATS * 2)]
    (tmp_path / "images").mkdir()
    for number, row in enumerate(rows):
        (tmp_path / "images" / row.filename).write_bytes(picture(number, image_format=row.label.upper()))
    for name in FORMATS:
        rows.append(Row(f"flat.{name}", name, "train"))
        Image.new("RGB", (9, 9), (len(rows), 200, 3)).save(tmp_path / "images" / f"flat.{name}", name.upper())
    settings = ConversionSettings(split_fractions={}, split_names=("train",), formats=FORMATS)
    return build_version(
        tmp_path / "20260101T000000Z-abababab",
        tmp_path / "images",
        rows,
        labels=FORMATS,
        shards={"train": 2},
        settings=settings,
    )


def validate(version, settings=None, **options):
    return validate_version(
        str(version.folder),
        settings=settings or Validation(),
        images_uri=str(version.images),
        reader="tensorflow",
        **options,
    )


def test_tensorflow_reads_every_format_and_a_whole_shard(version):
    report = validate(version)
    assert [check.name for check in report.checks if check.verdict is Verdict.FAILED] == ["one_colour"]
    assert sorted(place.key for place in report.check("one_colour").places) == sorted(
        f"flat.{name}" for name in FORMATS
    )
    assert report.check("sample_decodes").verdict is Verdict.PASSED
    assert report.sample.reader.startswith("TensorFlow 2")
    assert report.check("whole_shards_read").observed == "1 of 1 whole shards read"


def test_tensorflow_refuses_what_pillow_forgives(version):
    """Two records are broken: one has a PNG with a wrong checksum in it, which Pillow opens; one lacks a feature."""
    name = next(name for name in (shard(version, 0), shard(version, 1)) if holds_png(version, name))

    def edit(records):
        png = next(record for record in records if record["image/format"] == [b"png"])
        png["image/encoded"] = [wrong_crc(png["image/encoded"][0])]
        other = next(record for record in records if record is not png)
        del other["image/class/text"]
        edit.broken = sorted([records.index(png), records.index(other)])

    edit_records(version, name, edit)
    check = validate(version).check("sample_decodes")
    assert check.verdict is Verdict.FAILED
    assert sorted(place.offset for place in check.places) == [offsets(version, name)[n] for n in edit.broken]
    told = " ".join(place.detail for place in check.places)
    assert "decode_image" in told
    assert "image/class/text" in told


def test_a_damaged_record_that_nobody_sampled_is_seen_by_reading_its_shard_whole(version):
    ((name, by_label),) = draw(manifest_of(version).shards, size=1, seed=1).items()
    index = index_of(version, name)
    labels = ShardIndex((version.folder / index).read_bytes(), where=index).labels
    flip_bit(
        version, name, payload_position(version, name, next(n for n, id in enumerate(labels) if id not in by_label))
    )
    reseal(version, name)
    settings = Validation(sample=1, full_scan_bytes=0, checks={"one_colour": "skip"})
    report = validate(version, settings, seed=1)
    assert [check.name for check in report.checks if check.verdict is Verdict.FAILED] == ["whole_shards_read"]
    (place,) = report.check("whole_shards_read").places
    assert place.object == name
    assert place.detail.startswith("TFRecordDataset: ")


def holds_png(version, name):
    return b"image/format\x12\x07\n\x05\n\x03png" in (version.folder / name).read_bytes()


def wrong_crc(png: bytes) -> bytes:
    """Returns the picture with a wrong checksum on its pixels."""
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    end = start + 4 + length
    damaged = png[:end] + struct.pack(">I", zlib.crc32(png[start:end]) ^ 1) + png[end + 4 :]
    with Image.open(io.BytesIO(damaged)) as image:
        image.load()
    return damaged


def test_it_starts_without_keras_whose_import_takes_as_long_again():
    script = (
        "import io, sys\nfrom imagemill.quality.tensorflow_reader import main\nmain(io.StringIO(), sys.stdout)\n"
        "print([name for name, module in sys.modules.items() if name.partition('.')[0] == 'keras' and module])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "TensorFlow" in ended.stdout
    assert ended.stdout.endswith("\n[]\n")
