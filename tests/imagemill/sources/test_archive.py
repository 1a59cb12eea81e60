import hashlib

import pytest

from imagemill.errors import CallerError
from imagemill.progress import Silent
from imagemill.sources.archive import fetch_archive, fetch_from_store


def test_an_unchanged_file_is_not_read_again(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"content")
    hints = {}
    found = fetch_archive(str(path), sha256=None, downloads=tmp_path, hints=hints, progress=Silent())
    assert found.sha256 == hashlib.sha256(b"content").hexdigest()
    hints["archive"] = hints["archive"].replace(found.sha256, "as remembered")
    again = fetch_archive(str(path), sha256=None, downloads=tmp_path, hints=hints, progress=Silent())
    assert again.sha256 == "as remembered"
    path.write_bytes(b"other content")
    changed = fetch_archive(str(path), sha256=None, downloads=tmp_path, hints=hints, progress=Silent())
    assert changed.sha256 == hashlib.sha256(b"other content").hexdigest()


def test_an_object_is_fetched_once_per_version(tmp_path):
    path = tmp_path / "bucket/a b.tar.gz"
    path.parent.mkdir()
    path.write_bytes(b"one" * 10_000_000)
    copy = fetch_from_store(str(path), downloads=tmp_path / "downloads", progress=Silent())
    assert copy.read_bytes() == path.read_bytes()
    assert fetch_from_store(str(path), downloads=tmp_path / "downloads", progress=Silent()) == copy
    path.write_bytes(b"two")
    other = fetch_from_store(str(path), downloads=tmp_path / "downloads", progress=Silent())
    assert other.read_bytes() == b"two"
    assert sorted(entry.name for entry in copy.parent.iterdir()) == ["a_b.tar.gz"]


def test_a_missing_object_is_named(tmp_path):
    with pytest.raises(CallerError, match=r"nothing\.tar\.gz: the archive does not exist"):
        fetch_from_store(str(tmp_path / "nothing.tar.gz"), downloads=tmp_path, progress=Silent())


@pytest.mark.parametrize("location", ["ftp://host/a.tar.gz", "", "gs:/a/b", "file://host/x"])
def test_unknown_places(tmp_path, location):
    with pytest.raises(CallerError):
        fetch_archive(location, sha256=None, downloads=tmp_path, hints={}, progress=Silent())
