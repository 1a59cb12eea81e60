import os
from pathlib import Path

import pytest

from imagemill.errors import CallerError
from imagemill.storage import is_local, join, key_fault, normalise, parse, split


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("gs://bucket", "gs://bucket"),
        ("gs://bucket/", "gs://bucket"),
        ("GS://bucket/a/b/", "gs://bucket/a/b"),
        pytest.param("gs://bucket/a b#1?x%20y", "gs://bucket/a b#1?x%20y", id="object names are not percent-encoded"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("/data/images/", "/data/images"),
        pytest.param("/a b#1?x%20y", "/a b#1?x%20y", id="a bare path is not percent-decoded"),
        ("//data//images", "/data/images"),
        ("/", "/"),
        ("file:///data/a%20b%23%C3%A9", "/data/a b#é"),
        ("file://localhost/data", "/data"),
        ("images", f"{Path.cwd()}/images"),
        ("./gs:/odd", f"{Path.cwd()}/gs:/odd"),
    ],
)
def test_one_place_has_one_canonical_uri(uri, canonical):
    assert normalise(uri) == canonical
    assert normalise(canonical) == canonical


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "empty"),
        ("http://host/x", "unknown scheme 'http'"),
        ("gs://", "names no bucket"),
        ("gs:///x", "names no bucket"),
        ("gs://Bucket/x", "no bucket name"),
        ("gs://bucket//x", "segment"),
        ("gs://bucket/a//b", "segment"),
        ("gs://bucket/../x", "segment"),
        ("gs://bucket/a\nb", "control character"),
        ("gs:/bucket/x", "write 'gs://bucket/x'"),
        ("file://host/x", "three slashes"),
        ("file://x", "three slashes"),
        ("file:///%ff", "not percent-encoded UTF-8"),
        ("file:///a%00b", "control character"),
        ("/a\0b", "control character"),
        ("/a\udcff", "not valid UTF-8"),
    ],
)
def test_a_bad_location_is_the_callers_mistake(uri, message):
    with pytest.raises(CallerError, match=message):
        parse(uri)


def test_parents_are_resolved_as_the_kernel_does(tmp_path):
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/inner")
    assert normalise(f"{tmp_path}/link/../x") == os.path.realpath(tmp_path / "real/x")


def test_a_path_object_is_a_path_whatever_it_looks_like():
    assert normalise(Path("gs://bucket")) == f"{Path.cwd()}/gs:/bucket"
    assert is_local(Path("gs://bucket"))
    assert not is_local("gs://bucket")


def test_join_and_split_are_inverse():
    assert join("gs://b/p/", "x y/z%") == "gs://b/p/x y/z%"
    assert split("gs://b/p/z%") == ("gs://b/p", "z%")
    assert split("gs://b/z") == ("gs://b", "z")
    assert join("/", "x") == "/x"
    assert split("/x") == ("/", "x")


@pytest.mark.parametrize("uri", ["gs://bucket", "/"])
def test_a_root_is_no_object(uri):
    with pytest.raises(CallerError, match="names no object"):
        split(uri)


@pytest.mark.parametrize("key", ["", "/", "/x", "x/", "a//b", ".", "..", "../x", "a/../b", "a/.", "./a"])
def test_no_key_leaves_its_root(key):
    for root in ("/data", "gs://bucket/p"):
        with pytest.raises(CallerError, match="segment"):
            join(root, key)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("a\tb", "control"),
        ("a\x7f", "control"),
        ("\udcff", "UTF-8"),
        ("x/.imagemill-tmp-1", "reserved"),
        ("é" * 513, "1026 bytes"),
    ],
)
def test_names_that_no_store_can_hold(key, fault):
    assert fault in key_fault(key)


@pytest.mark.parametrize(
    "key", ["a b", "#%?+&'\",", "é", "e\u0301", "...", "a..b/..c", ".hidden", "x.", "é" * 512, "a\\b"]
)
def test_hostile_names_that_are_fine(key):
    assert key_fault(key) is None


@pytest.mark.parametrize(
    ("outer", "inner", "contained"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", True),
        ("/", "/a", True),
        ("/a", "/ab", False),
        ("/a/b", "/a", False),
        ("gs://b", "gs://b/x", True),
        ("gs://b/x", "gs://b/xy", False),
        ("gs://b", "gs://c", False),
        ("gs://b", "s3://b", False),
    ],
)
def test_what_lies_within_what(outer, inner, contained):
    assert parse(outer).contains(parse(inner)) is contained


def test_a_link_into_the_place_lies_within_it(tmp_path):
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/deep")
    assert parse(tmp_path / "real").contains(parse(tmp_path / "link"))
