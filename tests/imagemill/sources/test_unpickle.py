"""Python's own pickle is the oracle of what is admitted; nothing else gets through, and nothing is ever run."""

import contextlib
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.sources.unpickle import ByteArray, UnsafePickle, load

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=20,
)


@given(values, st.integers(2, 5))
def test_plain_values_are_what_pickle_says(value, protocol):
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_bytes_are_numpys(protocol, order):
    array = np.asarray(np.arange(60, dtype=np.uint8).reshape(20, 3), order=order)
    found = load(pickle.dumps({b"data": array}, protocol))[b"data"]
    assert np.array_equal(np.frombuffer(found.data, np.uint8).reshape(found.shape, order=order), array)
    assert found.column_major is (order == "F")


def test_python_2_spelling_of_text_and_arrays():
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x02K\x02\x86"
        b"cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04abcdtb"
    )
    data = b"\x80\x02}q\x00(U\x04dataq\x06" + array + b"U\x06labels]q\x07(K\x01M\x00\x01eu."
    assert load(data) == {b"data": ByteArray((2, 2), b"abcd"), b"labels": [1, 256]}
    expected = pickle.loads(data, encoding="bytes")
    assert expected[b"labels"] == [1, 256]
    assert expected[b"data"].tobytes() == b"abcd"


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _global(module, name, arguments=b")R."):
    return b"\x80\x02c" + module + b"\n" + name + b"\n" + arguments


HOSTILE = {
    "os.system": pickle.dumps(_Runs(os.system, "touch /nonexistent/x"), 2),
    "eval": pickle.dumps(_Runs(eval, "1/0"), 4),
    "numpy.testing reaches exec": _global(b"numpy.testing._private.utils", b"runstring", b"U\x011}\x86R."),
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
    "dotted module": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "ndarray called": _global(b"numpy", b"ndarray", b"J\xff\xff\xff\x7f\x85R."),
    "dtype of objects": _global(b"numpy", b"dtype", b"U\x02O8K\x00K\x01\x87R."),
    "dtype with fields": _global(b"numpy", b"dtype", b"](U\x01aU\x01Oe\x85R."),
    "dtype state with objects": _global(
        b"numpy", b"dtype", b"U\x02u1K\x00K\x01\x87R(K\x03U\x01|NU\x01aNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb."
    ),
    "reconstruct with dimensions": _global(
        b"numpy.core.multiarray", b"_reconstruct", b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R."
    ),
    "reconstruct of another type": _global(
        b"numpy.core.multiarray", b"_reconstruct", b"cnumpy\ndtype\nK\x00\x85U\x01b\x87R."
    ),
    "codec other than latin1": _global(b"_codecs", b"encode", b"X\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R."),
    "bytes of a size": _global(b"__builtin__", b"bytes", b"J\xff\xff\xff\x7f\x85R."),
    "codec with bytes": _global(b"_codecs", b"encode", b"U\x01aX\x06\x00\x00\x00latin1\x86R."),
    "build on a global": _global(b"numpy", b"ndarray", b"}U\x01xK\x01sb."),
    "new object": _global(b"numpy", b"ndarray", b")\x81."),
    "instance": b"\x80\x02(inumpy\nndarray\n.",
    "extension registry": b"\x80\x02\x82\x01.",
    "persistent id": b"\x80\x02U\x01aQ.",
    "text protocol": pickle.dumps([1, 2], 0),
    "memo index bomb": b"\x80\x02Kar\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff.",
    "bytes claim": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "negative text claim": b"\x80\x02T\xff\xff\xff\xff.",
    "tuple as key (hashing it may take for ever)": b"\x80\x02}()" + b"\x85" * 50 + b"K\x01u.",
    "odd items": b"\x80\x02}(K\x01u.",
    "append to a dictionary": b"\x80\x02}K\x01a.",
    "mark as a value": b"\x80\x02(.",
    "empty stack": b"\x80\x02.",
    "nothing": b"",
    "no end": b"\x80\x02]",
    "name without an end": b"\x80\x02c" + b"a" * 1000,
    "undecodable text": b"\x80\x02X\x01\x00\x00\x00\xff.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pickles_are_refused(data):
    with pytest.raises(UnsafePickle):
        load(data)


@pytest.mark.parametrize(
    ("shape", "data"),
    [((1 << 40, 1 << 40), b"ab"), ((-1, -2), b"ab"), ((3,), b"ab"), ((), b"ab"), ((1,) * 40, b"a"), (("a", 2), b"ab")],
)
def test_a_shape_that_its_bytes_do_not_fill_is_refused(shape, data):
    head = pickle.dumps(np.zeros(0, np.uint8), 2)
    honest = head[: head.rindex(b"(K\x01")]
    state = pickle.dumps(shape, 2)[2:-1]
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    with pytest.raises(UnsafePickle):
        load(honest + b"(K\x01" + state + dtype + b"\x89U" + bytes([len(data)]) + data + b"tb.")


def test_objects_array_of_numpy_itself_is_refused():
    with pytest.raises(UnsafePickle, match="'O8'"):
        load(pickle.dumps(np.array([{}], object), 2))


def test_one_text_encoded_over_and_over_is_refused():
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00"
    call = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(UnsafePickle, match="encodes more text"):
        load(b"\x80\x02" + text + call * 200 + b".")


def test_endless_instructions_are_refused():
    with pytest.raises(UnsafePickle, match="instructions"):
        load(b"\x80\x02" + b"N" * 2_000_001)


@settings(max_examples=300)
@given(st.data())
def test_damage_never_crashes(data):
    whole = pickle.dumps({b"data": np.zeros((2, 3), np.uint8), b"labels": [1, 2], b"names": [b"a", b"b"]}, 2)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnsafePickle):
        load(bytes(damaged))


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_noise_never_crashes(noise):
    with contextlib.suppress(UnsafePickle):
        load(b"\x80\x02" + noise)
