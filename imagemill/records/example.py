"""The tf.train.Example codec: protobuf's wire format for maps of bytes, floats and integers, without protobuf.

Encoding writes the bytes of TensorFlow's `SerializeToString(deterministic=True)`: map entries in the order of their
keys, numbers packed. Messages: tensorflow/core/example/{example,feature}.proto; wire format:
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from imagemill.errors import UnusableData
from imagemill.images import ImageFacts

Scalar = bytes | str | int | float
FeatureValue = Scalar | Sequence[Scalar]

# Field numbers with their wire types: (number << 3) | type, where type 2 is "length-delimited".
_FIRST = b"\x0a"  # Example.features, Features.feature, its entry's key, Feature.bytes_list, every list's `value`
_VALUE = b"\x12"  # the map entry's value
_FLOAT_LIST = b"\x12"
_INT64_LIST = b"\x1a"
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


class MalformedExample(UnusableData):
    """Bytes that are not a tf.train.Example."""


def encode_features(features: Mapping[str, FeatureValue]) -> bytes:
    """Returns a serialized tf.train.Example.

    Args:
        features: Values by name; a scalar is a list of one, text is stored as UTF-8, an empty list has no type.

    Raises:
        TypeError: A list mixes types, or holds something else.
        OverflowError: An integer has more than 64 bits, or a float is beyond single precision.
    """
    return _delimited(_FIRST, b"".join(_entry(name, _feature(features[name])) for name in sorted(features, key=_place)))


def _place(name: str) -> bytes:
    """Sorts by UTF-8 bytes, and a name before the names it begins with, as upb (protobuf's core in Python) does."""
    return name.encode() + b"\xff"


def encode_image_example(
    data: bytes, facts: ImageFacts, *, filename: str, sha256: str, label: int, label_text: str
) -> bytes:
    """Returns the serialized tf.train.Example of one image, under the keys of the ImageNet records.

    Args:
        data: The image, stored as it is.
        facts: What its header says.
        filename: The row's key.
        sha256: Digest of `data`, hexadecimal.
        label: Class id.
        label_text: Class name.
    """
    name = filename.encode()
    # The map's entries in the order of their keys; what repeats from record to record comes encoded from a cache.
    body = b"".join(
        (
            _class_entries(facts.channels, label, label_text),
            _bytes_header("image/encoded", len(data)),
            data,
            _bytes_header("image/filename", len(name)),
            name,
            _format_entries(facts.format, facts.height),
            _bytes_header("image/key/sha256", len(sha256)),
            sha256.encode(),
            _int_entry("image/width", facts.width),
        )
    )
    return b"".join((_FIRST, _varint(len(body)), body))


@lru_cache(4096)
def _class_entries(channels: int, label: int, text: str) -> bytes:
    numbers = _int_entry("image/channels", channels) + _int_entry("image/class/label", label)
    return numbers + _entry("image/class/text", _feature(text))


@lru_cache(4096)
def _format_entries(image_format: str, height: int) -> bytes:
    return _entry("image/format", _feature(image_format)) + _int_entry("image/height", height)


@lru_cache(4096)
def _int_entry(name: str, value: int) -> bytes:
    return _entry(name, _feature(value))


@lru_cache(16_384)
def _bytes_header(name: str, size: int) -> bytes:
    """Returns all of a map entry with one bytes value but the value itself, which ends the entry."""
    key = _delimited(_FIRST, name.encode())
    in_list = _FIRST + _varint(size)
    in_feature = _FIRST + _varint(len(in_list) + size) + in_list
    in_entry = key + _VALUE + _varint(len(in_feature) + size) + in_feature
    return _FIRST + _varint(len(in_entry) + size) + in_entry


def _entry(name: str, feature: bytes) -> bytes:
    return _delimited(_FIRST, _delimited(_FIRST, name.encode()) + _delimited(_VALUE, feature))


def _feature(value: FeatureValue) -> bytes:
    values: Sequence[Scalar] = [value] if isinstance(value, (bytes, str, int, float)) else value
    if not values:
        return b""
    if all(isinstance(item, (bytes, str)) for item in values):
        raw = (item.encode() if isinstance(item, str) else item for item in values if isinstance(item, (bytes, str)))
        return _delimited(_FIRST, b"".join(_delimited(_FIRST, item) for item in raw))
    if all(isinstance(item, int) for item in values):
        packed = b"".join(_int64(item) for item in values if isinstance(item, int))
        return _delimited(_INT64_LIST, _delimited(_FIRST, packed))
    if all(isinstance(item, float) for item in values):
        packed = struct.pack(f"<{len(values)}f", *values)
        return _delimited(_FLOAT_LIST, _delimited(_FIRST, packed))
    kinds = sorted({type(item).__name__ for item in values})
    raise TypeError(f"a feature holds bytes, integers or floats, not {', '.join(kinds)} together")


def _delimited(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _int64(value: int) -> bytes:
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"{value} has more than 64 bits")
    return _varint(value & 0xFFFFFFFFFFFFFFFF)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return value.to_bytes(1, "little")
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def decode_features(data: bytes) -> dict[str, list[bytes] | list[int] | list[float]]:
    """Returns the features of a serialized tf.train.Example, in the order of the message.

    Raises:
        MalformedExample: The bytes are something else.
    """
    features: dict[str, list[bytes] | list[int] | list[float]] = {}
    try:
        for example_field, features_message in _messages(data):
            if example_field != 1:
                continue
            for features_field, entry in _messages(features_message):
                if features_field == 1:
                    name, feature = _parse_entry(entry)
                    features[name] = _parse_feature(feature)
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise MalformedExample(f"not a tf.train.Example: {error}") from error
    return features


def _parse_entry(entry: bytes) -> tuple[str, bytes]:
    name, feature = b"", b""
    for field, content in _messages(entry):
        if field == 1:
            name = content
        elif field == 2:
            feature += content  # protobuf merges a repeated message: that is concatenation
    return name.decode(), feature


def _parse_feature(feature: bytes) -> list[bytes] | list[int] | list[float]:
    kind, content = 0, b""
    for field, message in _messages(feature):
        if field in (1, 2, 3):
            content = content + message if field == kind else message  # a oneof: the last kind stands
            kind = field
    if kind == 3:
        return list(_ints(content))
    if kind == 2:
        return list(_floats(content))
    return [value for field, value in _messages(content) if field == 1]


def _ints(content: bytes) -> Iterator[int]:
    for field, wire_type, value in _fields(content):
        if field != 1:
            continue
        if isinstance(value, int):
            yield _signed(value)
        elif wire_type == _DELIMITED:
            position = 0
            while position < len(value):
                item, position = _parse_varint(value, position)
                yield _signed(item)


def _floats(content: bytes) -> Iterator[float]:
    for field, wire_type, value in _fields(content):
        if field == 1 and wire_type in (_DELIMITED, _FIXED32) and isinstance(value, bytes):
            for (item,) in struct.iter_unpack("<f", value):
                yield item


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields number and content of the length-delimited fields; others are unknown to these messages and skipped."""
    for field, wire_type, value in _fields(data):
        if wire_type == _DELIMITED and isinstance(value, bytes):
            yield field, value


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    position, end = 0, len(data)
    while position < end:
        tag, position = _parse_varint(data, position)
        field, wire_type = tag >> 3, tag & 7
        if field == 0:
            raise MalformedExample("not a tf.train.Example: field number 0")
        if wire_type == _VARINT:
            number, position = _parse_varint(data, position)
            yield field, wire_type, number
            continue
        if wire_type == _DELIMITED:
            size, position = _parse_varint(data, position)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise MalformedExample(f"not a tf.train.Example: wire type {wire_type}")
        if size > end - position:
            raise MalformedExample(f"not a tf.train.Example: a field of {size} bytes in a message of {end}")
        yield field, wire_type, data[position : position + size]
        position += size


def _parse_varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift >= 70:
            raise MalformedExample("not a tf.train.Example: a number of more than ten bytes")
