import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.records.example import MalformedExample, decode_features, encode_features


def test_a_scalar_is_a_list_of_one_and_text_is_utf8():
    encoded = encode_features({"text": "ä", "raw": b"\xff", "int": -1, "float": 0.5, "none": []})
    assert decode_features(encoded) == {
        "float": [0.5],
        "int": [-1],
        "none": [],
        "raw": [b"\xff"],
        "text": ["ä".encode()],
    }


def test_the_order_of_the_mapping_does_not_matter():
    assert encode_features({"b": 1, "a": 2}) == encode_features({"a": 2, "b": 1})


@pytest.mark.parametrize("mixed", [[1, 0.5], [1, b"a"], [None], ["a", 1.0]])
def test_mixed_lists_are_refused(mixed):
    with pytest.raises(TypeError, match="a feature holds"):
        encode_features({"a": mixed})


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 1e39])
def test_numbers_beyond_the_format_are_refused(number):
    with pytest.raises(OverflowError):
        encode_features({"a": number})


def field(number, wire_type, content):
    return bytes([number << 3 | wire_type]) + content


def delimited(number, content):
    return field(number, 2, bytes([len(content)]) + content)


def example(feature):
    return delimited(1, delimited(1, delimited(1, b"k") + delimited(2, feature)))


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        pytest.param(delimited(3, field(1, 0, b"\x07") + field(1, 0, b"\x08")), [7, 8], id="integers not packed"),
        pytest.param(delimited(2, field(1, 5, b"\0\0\0\x3f")), [0.5], id="floats not packed"),
        pytest.param(delimited(1, delimited(1, b"a")) + delimited(3, field(1, 0, b"\x07")), [7], id="the last kind"),
        pytest.param(delimited(1, delimited(1, b"a")) + delimited(1, delimited(1, b"b")), [b"a", b"b"], id="merged"),
        pytest.param(
            delimited(9, b"new") + field(10, 1, b"8 bytes.") + delimited(1, delimited(1, b"a")),
            [b"a"],
            id="unknown fields",
        ),
    ],
)
def test_every_valid_wire_form_is_read(feature, expected):
    assert decode_features(example(feature)) == {"k": expected}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\x05\x0a", id="shorter than it says"),
        pytest.param(b"\x0a", id="ends after a tag"),
        pytest.param(b"\x0b", id="a group"),
        pytest.param(b"\x02\x00", id="field number 0"),
        pytest.param(b"\x08" + b"\xff" * 11, id="an endless number"),
        pytest.param(delimited(1, delimited(1, delimited(1, b"\xff"))), id="a name that is not UTF-8"),
        pytest.param(example(delimited(2, delimited(1, b"abc"))), id="three bytes of float"),
    ],
)
def test_malformed_examples_are_named_so(data):
    with pytest.raises(MalformedExample, match=r"not a tf\.train\.Example"):
        decode_features(data)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_malformed(data):
    with contextlib.suppress(MalformedExample):
        assert isinstance(decode_features(data), dict)
