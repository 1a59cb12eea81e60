"""Pictures, good and broken in every way that decoders care about, with what becomes of each."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

from imagemill.rows import Reason

HEIGHT, WIDTH = 24, 32
TALL, WIDE = 240, 320
MISSED = "passes the header check, but its pixels do not decode"

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def noise(mode="RGB"):
    samples = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(samples).convert(mode)


def gradient(mode="RGB"):
    return Image.linear_gradient("L").resize((WIDE, TALL)).convert(mode)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def damaged(data, position=-1):
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def replaced(data, position, value):
    return data[:position] + value + data[position + len(value) :]


def png(*chunks):
    return SIGNATURE + b"".join(chunks)


def header(width=4, height=4, depth=8, colour=0, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def chunks_of(data):
    position, found = 8, []
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        found.append(data[position : position + 12 + size])
        position += 12 + size
    return found


END = chunk(b"IEND", b"")
GREY = (b"\0" + b"abcd") * 4


def pixels(raw=GREY):
    return chunk(b"IDAT", zlib.compress(raw))


def png_cases():
    good = encode(noise(), "PNG")
    first, data, end = chunks_of(good)
    stream = data[8:-4]
    text = chunk(b"tEXt", b"a\0b")
    palette_first, palette, palette_data, _ = chunks_of(encode(noise("P"), "PNG"))
    undecodable, truncated, missed = Reason.UNDECODABLE, Reason.TRUNCATED, MISSED

    def facts(channels, height=HEIGHT, width=WIDTH):
        return ("png", height, width, channels, 1)

    yield "png", good, facts(3)
    for mode, channels in {"L": 1, "LA": 2, "RGBA": 4, "1": 1, "P": 3}.items():
        yield f"png {mode}", encode(noise(mode), "PNG"), facts(channels)
    yield "png palette with transparency", encode(noise("P"), "PNG", transparency=3), facts(4)
    yield "png RGB with a transparent colour", encode(noise(), "PNG", transparency=(1, 2, 3)), facts(3)
    yield "png grey with a transparent shade", encode(noise("L"), "PNG", transparency=3), facts(1)
    yield "png 16 bit grey", png(header(depth=16), pixels((b"\0" + b"abcdefgh") * 4), END), facts(1, 4, 4)
    yield "png 16 bit RGB", png(header(depth=16, colour=2), pixels((b"\0" + b"ab" * 12) * 4), END), facts(3, 4, 4)
    interlaced = pixels(b"\0a\0b\0cd\0ef\0gh\0abcd\0abcd")
    yield "png interlaced", png(header(interlace=1), interlaced, END), facts(1, 4, 4)
    yield "png interlaced, one pixel", png(header(1, 1, interlace=1), pixels(b"\0a"), END), facts(1, 1, 1)
    yield (
        "png pixels in two chunks",
        png(first, chunk(b"IDAT", stream[:50]), chunk(b"IDAT", stream[50:]), end),
        facts(3),
    )
    yield "png bytes after its end", good + b"garbage", facts(3)
    yield "png bad checksum of a comment", png(first, damaged(text), data, end), facts(3)
    yield "png unknown ancillary chunk", png(first, chunk(b"abCD", b"zz"), data, end), facts(3)
    yield "png grey with a palette", png(header(), chunk(b"PLTE", b"abc"), pixels(), END), facts(1, 4, 4)
    yield "png RGB with an odd palette", png(first, chunk(b"PLTE", b"abcd"), data, end), facts(3)
    yield "png end with data", png(first, data, chunk(b"IEND", b"x")), facts(3)
    yield "png more pixels than announced", png(header(), pixels(GREY * 2), END), facts(1, 4, 4)
    for name, transparency in {
        "empty": chunk(b"tRNS", b""),
        "too long": chunk(b"tRNS", b"a" * 300),
        "damaged": damaged(chunk(b"tRNS", b"a")),
    }.items():
        yield (
            f"png palette, transparency {name}",
            png(palette_first, palette, transparency, palette_data, END),
            facts(3),
        )
    early = png(palette_first, chunk(b"tRNS", b"a"), palette, palette_data, END)
    yield "png palette, transparency too early", early, facts(3)

    yield "png without its end", png(first, data), truncated
    yield "png cut in the middle", good[: len(good) // 2], truncated
    yield "png without its last byte", good[:-1], truncated
    yield "png without its last checksum", good[:-4], truncated
    yield "png signature only", SIGNATURE, truncated
    yield "png cut in its header", good[:30], truncated
    yield "png without pixels", png(first, end), truncated
    yield "png with empty pixels", png(first, chunk(b"IDAT", b""), end), truncated
    yield "png bad pixels", damaged(good, 60), undecodable
    for name, parts in {
        "bad checksum of the pixels": (first, damaged(data), end),
        "bad checksum of the header": (damaged(first), data, end),
        "bad checksum of the end": (first, data, damaged(end)),
        "unknown critical chunk": (first, chunk(b"ABCD", b"zz"), data, end),
        "unknown critical chunk after the pixels": (first, data, chunk(b"ABCD", b"zz"), end),
        "chunk without a name": (first, chunk(b"a\0CD", b"zz"), data, end),
        "two headers": (first, first, data, end),
        "comment before the header": (text, first, data, end),
        "comment between the pixels": (first, chunk(b"IDAT", stream[:50]), text, chunk(b"IDAT", stream[50:]), end),
        "without a palette": (palette_first, palette_data, end),
        "empty palette": (palette_first, chunk(b"PLTE", b""), palette_data, end),
        "palette of four bytes": (palette_first, chunk(b"PLTE", b"abcd"), palette_data, end),
        "palette after the pixels": (palette_first, palette_data, palette, end),
        "two palettes": (palette_first, palette, palette, palette_data, end),
        "bit depth 3": (header(depth=3), pixels(), END),
        "colour type 5": (header(colour=5), pixels(), END),
        "RGB of bit depth 4": (header(depth=4, colour=2), pixels(), END),
        "no width": (header(width=0), pixels(), END),
        "interlace method 2": (header(interlace=2), pixels(), END),
    }.items():
        yield f"png {name}", png(*parts), undecodable
    yield "png bomb", png(header(1 << 20, 1 << 20), pixels(), END), Reason.TOO_LARGE
    yield "png 1000001 wide", png(header(1_000_001, 1), pixels(b"\0" * 1_000_002), END), Reason.TOO_LARGE
    yield "png 1000000 wide", png(header(1_000_000, 1), pixels(b"\0" * 1_000_001), END), facts(1, 1, 1_000_000)

    yield "png pixels not compressed", png(header(), chunk(b"IDAT", b"garbage!!"), END), missed
    yield "png rows missing", png(header(), pixels(GREY[:10]), END), missed
    yield "png interlaced, rows missing", png(header(interlace=1), pixels(b"\0a"), END), missed
    yield "png filter 9", png(header(), pixels((b"\x09" + b"abcd") * 4), END), missed
    yield "png bad checksum of the stream", png(first, chunk(b"IDAT", damaged(stream)), end), missed
    yield "png stream without checksum", png(first, chunk(b"IDAT", stream[:-4]), end), missed


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_cases():
    good = encode(gradient(), "JPEG")
    progressive = encode(gradient(), "JPEG", progressive=True)
    tables, frame, scan = good.index(b"\xff\xdb"), good.index(b"\xff\xc0"), good.index(b"\xff\xda")
    frame_end = frame + 2 + struct.unpack_from(">H", good, frame + 2)[0]
    undecodable, truncated = Reason.UNDECODABLE, Reason.TRUNCATED
    rgb, grey = ("jpeg", TALL, WIDE, 3, 1), ("jpeg", TALL, WIDE, 1, 1)

    def before_tables(data):
        return good[:tables] + data + good[tables:]

    def with_frame(data):
        return good[:frame] + data + good[frame_end:]

    def sized(height, width):
        return replaced(good, frame + 5, struct.pack(">HH", height, width))

    def sampled(*factors):
        return with_frame(
            segment(0xC0, good[frame + 4 : frame + 10] + b"".join(bytes([n + 1, f, 0]) for n, f in enumerate(factors)))
        )

    def scanned(header, data=good):
        start = data.index(b"\xff\xda")
        following = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
        return data[:start] + segment(0xDA, header) + data[following:]

    exif = Image.Exif()
    exif[274] = 6
    for name, data in {
        "": good,
        " progressive": progressive,
        " CMYK": encode(gradient("CMYK"), "JPEG"),
        " CMYK progressive": encode(gradient("CMYK"), "JPEG", progressive=True),
        " with restart markers": encode(gradient(), "JPEG", restart_marker_blocks=2),
        " of several pictures": encode(gradient(), "MPO", save_all=True, append_images=[gradient()]),
        " bytes after its end": good + b"garbage\xff\xd8 more",
        " extended": replaced(good, frame, b"\xff\xc1"),
        " without Huffman tables": good[: good.index(b"\xff\xc4")] + good[scan:],
        " bytes between segments": before_tables(b"\x00\x01"),
        " fill bytes between segments": before_tables(b"\xff\xff"),
        " stuffed zero between segments": before_tables(b"\xff\0"),
        " restart marker between segments": before_tables(b"\xff\xd0"),
        " TEM between segments": before_tables(b"\xff\x01"),
        " segment of length 0": before_tables(b"\xff\xfe\0\0"),
        " application segment": before_tables(segment(0xEF, b"abc")),
        " number of lines after the scan": good[:-2] + segment(0xDC, b"\0\xf0") + good[-2:],
        " cut, with an end": good[: len(good) // 2] + b"\xff\xd9",
        " progressive, cut, with an end": progressive[: len(progressive) // 2] + b"\xff\xd9",
        " of one component a scan": scanned(b"\x01\x01\x00\x00\x3f\x00"),
        " broken table that no scan uses": before_tables(segment(0xC4, b"\x03\xff" + bytes(15) + bytes(255))),
        " empty restart interval": before_tables(segment(0xDD, b"\0\0")),
        " arithmetic": replaced(good, frame, b"\xff\xc9"),
        " ten blocks a unit": sampled(0x42, 0x11, 0x11),
    }.items():
        yield f"jpeg{name}", data, rgb
    yield "jpeg with an orientation", encode(gradient(), "JPEG", exif=exif), (*rgb, 6)
    yield "jpeg grey", encode(gradient("L"), "JPEG"), grey
    yield "jpeg 65500 wide", sized(8, 65_500), ("jpeg", 8, 65_500, 3, 1)
    yield "jpeg 65501 wide", sized(8, 65_501), Reason.TOO_LARGE
    yield "jpeg bomb", sized(65_000, 65_000), Reason.TOO_LARGE
    for name, data in {
        "without its end": good[:-2],
        "without its last byte": good[:-1],
        "progressive, without its end": progressive[:-2],
        "cut in the middle": good[: len(good) // 2],
        "progressive, cut in the middle": progressive[: len(progressive) // 2],
        "three bytes": good[:3],
        "headers only": good[:scan],
        "cut in a segment": good[: tables + 20],
    }.items():
        yield f"jpeg {name}", data, truncated
    for name, data in {
        "headers and an end": good[:scan] + b"\xff\xd9",
        "without a frame": good[:frame] + good[frame_end:],
        "without quantization tables": good[:tables] + good[frame:],
        "undefined quantization table": with_frame(good[frame:frame_end].replace(b"\x02\x11\x01", b"\x02\x11\x03")),
        "lossless": replaced(good, frame, b"\xff\xc3"),
        "differential": replaced(good, frame, b"\xff\xc5"),
        "12 bit": replaced(good, frame + 4, b"\x0c"),
        "no height": sized(0, WIDE),
        "no width": sized(TALL, 0),
        "two components": with_frame(
            segment(0xC0, struct.pack(">BHHB", 8, TALL, WIDE, 2) + bytes([1, 17, 0, 2, 17, 0]))
        ),
        "frame of another length": with_frame(segment(0xC0, good[frame + 4 : frame_end] + b"\0")),
        "two frames": with_frame(good[frame:frame_end] * 2),
        "unknown marker": before_tables(b"\xff\x05\0\x02"),
        "extension marker": before_tables(b"\xff\xf0\0\x02"),
        "second image in the scan": good[:-2] + b"\xff\xd8\xff\xd9",
        "two beginnings": good[:2] + good,
        "unknown marker in the scan": replaced(good, scan + 114, b"\xff\xc8"),
        "sampled 0 x 1": sampled(0x22, 0x01, 0x11),
        "sampled 5 x 1": sampled(0x51, 0x11, 0x11),
        "sampled by a fraction": sampled(0x31, 0x21, 0x11),
        "eleven blocks a unit": sampled(0x42, 0x21, 0x11),
        "quantization table 4": replaced(good, tables + 4, b"\x04"),
        "quantization table cut": before_tables(segment(0xDB, bytes(64))),
        "scan of no component": scanned(b"\x00\x00\x3f\x00"),
        "scan of another length": scanned(b"\x03\x01\x00\x02\x11\x03\x11\x00\x3f"),
        "scan of an unknown component": scanned(b"\x03\x01\x00\x02\x11\x09\x11\x00\x3f\x00"),
        "scan of one component twice": scanned(b"\x03\x01\x00\x02\x11\x02\x11\x00\x3f\x00"),
        "scan with an unknown Huffman table": scanned(b"\x03\x01\x00\x02\x11\x03\x12\x00\x3f\x00"),
        "two whole scans": good[:-2] + good[scan:],
        "Huffman table 4": before_tables(segment(0xC4, b"\x04" + bytes(16))),
        "Huffman table cut": before_tables(segment(0xC4, b"\x00\x01" + bytes(15))),
        "Huffman table of length 0": before_tables(b"\xff\xc4\0\0"),
        "Huffman codes that clash": replaced(good, good.index(b"\xff\xc4") + 5, b"\x02"),
        "Huffman table of a DC symbol 16": replaced(good, good.index(b"\xff\xc4") + 21, b"\x10"),
        "progressive without Huffman tables": progressive.replace(b"\xff\xc4", b"\xff\xfe"),
        "progressive of DC and AC": scanned(b"\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00", progressive),
        "progressive of bit 14": scanned(b"\x03\x01\x00\x02\x11\x03\x11\x00\x00\x0e", progressive),
        "restart interval of three bytes": before_tables(segment(0xDD, b"\0\0\0")),
        "arithmetic conditioning of a third table": before_tables(segment(0xCC, b"\x20\x01")),
        "arithmetic conditioning upside down": before_tables(segment(0xCC, b"\x00\x01")),
    }.items():
        yield f"jpeg {name}", data, undecodable


def gif(*frames, canvas=(40, 40), table=b"\0\0\0\xff\xff\xff"):
    flags = 0x80 if table else 0
    return b"GIF89a" + struct.pack("<HHBBB", *canvas, flags, 0, 0) + table + b"".join(frames) + b";"


def gif_frame(width, height, left=0, top=0):
    one = encode(Image.new("P", (width, height)), "GIF")
    start = one.index(b"\x2c", 13)
    flags = one[start + 9]
    body = start + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    return b"\x2c" + struct.pack("<HHHHB", left, top, width, height, 0) + one[body:-1]


def gif_cases():
    still = encode(noise("P"), "GIF")
    turned = [noise().rotate(angle).convert("P") for angle in (90, 180)]
    moving = encode(noise("P"), "GIF", save_all=True, append_images=turned)
    frame = still.index(b"\x2c", 13 + 768)

    def facts(frames=1, height=HEIGHT, width=WIDTH):
        return ("gif", height, width, 3, frames)

    yield "gif", still, facts()
    yield "gif 87a", b"GIF87a" + still[6:], facts()
    yield "gif animated", moving, facts(3)
    yield "gif without its trailer", still[:-1], facts()
    yield "gif animated, cut in the third frame", moving[: len(moving) * 2 // 3], facts(2)
    yield "gif bytes after its end", still + b"garbage", facts()
    yield "gif unknown block after the frame", still[:-1] + b"\x99;", facts()
    yield "gif second frame larger", gif(gif_frame(10, 10), gif_frame(20, 30)), facts(2, 30, 20)
    yield "gif second frame smaller", gif(gif_frame(20, 30), gif_frame(10, 10, 5, 5)), facts(2, 30, 20)
    yield "gif frame beside the corner", gif(gif_frame(10, 10, 5, 5)), facts(1, 10, 10)
    yield "gif frame larger than its canvas", gif(gif_frame(10, 10), canvas=(5, 5)), facts(1, 10, 10)
    yield "gif cut in the first frame", still[: len(still) // 2], Reason.TRUNCATED
    yield "gif cut in a frame header", still[: frame + 5], Reason.TRUNCATED
    yield "gif header only", still[:13], Reason.TRUNCATED
    yield "gif without a frame", still[:13] + b";", Reason.TRUNCATED
    yield "gif colours and no frame", gif(), Reason.UNDECODABLE
    yield "gif frame of no size", replaced(still, frame + 5, b"\0\0\0\0"), Reason.UNDECODABLE
    yield "gif without colours", gif(gif_frame(10, 10), table=b""), Reason.UNDECODABLE
    yield "gif pixels damaged", replaced(still, frame + 20, b"\xff" * 50), MISSED
    yield "gif bomb of frames", gif(*[gif_frame(1000, 1000)] * 101), Reason.TOO_LARGE


def bmp_cases():
    good = encode(noise(), "BMP")
    odd = encode(noise().crop((0, 0, 31, HEIGHT)), "BMP")

    def facts(channels, width=WIDTH):
        return ("bmp", HEIGHT, width, channels, 1)

    yield "bmp", good, facts(3)
    yield "bmp grey", encode(noise("L"), "BMP"), facts(1)
    yield "bmp palette", encode(noise("P"), "BMP"), facts(1)
    yield "bmp RGBA", encode(noise("RGBA"), "BMP"), facts(4)
    yield "bmp odd width", odd, facts(3, 31)
    yield "bmp from the top", replaced(good, 22, struct.pack("<i", -HEIGHT)), facts(3)
    yield "bmp wrong file size", replaced(good, 2, b"\1\0\0\0"), facts(3)
    yield "bmp without its last byte", good[:-1], Reason.TRUNCATED
    yield "bmp without its last padding", odd[:-1], Reason.TRUNCATED
    yield "bmp header only", good[:30], Reason.TRUNCATED
    yield "bmp bytes after its end", good + b"xx", Reason.UNDECODABLE
    yield "bmp one bit", encode(noise("1"), "BMP"), Reason.UNDECODABLE
    yield "bmp 16 bit", replaced(good, 28, b"\x10\0"), Reason.UNDECODABLE
    yield "bmp pixels elsewhere", replaced(good, 10, b"\x0a\0\0\0"), Reason.UNDECODABLE
    yield "bmp negative width", replaced(good, 18, struct.pack("<i", -WIDTH)), Reason.UNDECODABLE
    yield "bmp no width", replaced(good, 18, b"\0\0\0\0"), Reason.UNDECODABLE
    yield "bmp no height", replaced(good, 22, b"\0\0\0\0"), Reason.UNDECODABLE


def webp_cases():
    lossy = encode(noise(), "WEBP")
    lossless = encode(noise(), "WEBP", lossless=True)
    extended = encode(noise(), "WEBP", exif=b"Exif\0\0x")
    seen_through = noise("RGBA")
    seen_through.putalpha(100)

    def facts(channels):
        return ("webp", HEIGHT, WIDTH, channels, 1)

    yield "webp lossy", lossy, facts(3)
    yield "webp lossless", lossless, facts(3)
    yield "webp extended", extended, facts(3)
    yield "webp with transparency", encode(seen_through, "WEBP"), facts(4)
    yield "webp lossless with transparency", encode(seen_through, "WEBP", lossless=True), facts(4)
    yield "webp bytes after its end", lossy + b"xx", facts(3)
    yield "webp cut in the middle", lossy[: len(lossy) // 2], Reason.TRUNCATED
    yield "webp without its last byte", lossy[:-1], Reason.TRUNCATED
    yield "webp lossless, without its last byte", lossless[:-1], Reason.TRUNCATED
    yield "webp header only", lossy[:16], Reason.TRUNCATED
    yield "webp container too small", replaced(lossy, 4, struct.pack("<I", len(lossy) - 30)), Reason.UNDECODABLE
    yield "webp no key frame", damaged(lossy, 20), Reason.UNDECODABLE
    yield "webp lossless signature", damaged(lossless, 20), Reason.UNDECODABLE
    yield "webp canvas of another size", damaged(extended, 24), Reason.UNDECODABLE
    yield "webp without an image", b"RIFF" + struct.pack("<I", 16) + b"WEBPEXIF\4\0\0\0abcd", Reason.UNDECODABLE
    yield ANIMATED_WEBP, encode(noise(), "WEBP", save_all=True, append_images=[noise().rotate(90)]), Reason.UNDECODABLE


ANIMATED_WEBP = "webp animated"


def other_cases():
    for name in ("TIFF", "ICO", "PPM", "JPEG2000", "AVIF"):
        yield name.lower(), encode(noise(), name), Reason.NOT_AN_IMAGE
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.NOT_AN_IMAGE
    yield "text", b"hello, I am text\n", Reason.NOT_AN_IMAGE
    yield "one byte", b"\xff", Reason.NOT_AN_IMAGE
    yield "nothing", b"", Reason.EMPTY
    yield "png through a text transfer", encode(noise(), "PNG").replace(b"\r\n", b"\n", 1), Reason.NOT_AN_IMAGE
    yield "jpeg after a line break", b"\n" + encode(gradient(), "JPEG"), Reason.NOT_AN_IMAGE
    yield "gif of an unknown version", b"GIF90a" + encode(noise("P"), "GIF")[6:], Reason.NOT_AN_IMAGE


@cache
def cases():
    """Returns name, bytes and fate of every picture: its facts, the reason of its refusal, or `MISSED`."""
    makers = (png_cases, jpeg_cases, gif_cases, bmp_cases, webp_cases, other_cases)
    return [case for make in makers for case in make()]
