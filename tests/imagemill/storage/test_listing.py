import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.storage import ObjectInfo
from imagemill.storage.listing import walk

SEGMENTS = st.text(
    st.sampled_from("abxé/#%?+ -.,'\"\\~\u0301\uffff\U0001f600") | st.characters(exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=4,
).filter(lambda segment: "/" not in segment and segment not in (".", "..") and not segment.startswith(".imagemill-"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join), max_size=12),
    st.text(st.sampled_from("abxé-."), max_size=2) | st.sampled_from(["a/", "x/a", "b/-"]),
    st.sampled_from([1, 2, 100]),
)
def test_a_walk_meets_the_keys_in_the_order_of_their_bytes(names, prefix, run_entries):
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(exist_ok=True)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue  # `x` beside `x/y`: a folder holds only one of them
        found = [info.key for info in walk(f"{folder}/", prefix, run_entries=run_entries)]
        # The oracle is the operating system's own walk, sorted in one go.
        files = {str(Path(top, f).relative_to(folder)) for top, _, fs in os.walk(folder) for f in fs}
    assert found == sorted((key for key in files if key.startswith(prefix)), key=str.encode)


@pytest.fixture
def tree(tmp_path):
    for name in ("a-b", "a.b", "a/b", "a/c/d", "ab"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def keys(folder, prefix=""):
    return [info.key for info in walk(f"{folder}/", prefix)]


def test_the_slash_sorts_among_other_characters(tree):
    assert list(walk(f"{tree}/", "")) == [
        ObjectInfo("a-b", 3),
        ObjectInfo("a.b", 3),
        ObjectInfo("a/b", 3),
        ObjectInfo("a/c/d", 5),
        ObjectInfo("ab", 2),
    ]


def test_a_prefix_is_any_beginning(tree):
    assert keys(tree, "a/") == ["a/b", "a/c/d"]
    assert keys(tree, "a/c") == ["a/c/d"]
    assert keys(tree, "a") == keys(tree)
    assert keys(tree, "a/b/c/") == []
    assert keys(tree, "z/") == []


def test_links_to_files_are_files_and_nothing_else_is(tree):
    (tree / "link").symlink_to(tree / "ab")
    (tree / "folder_link").symlink_to(tree / "a")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "circle").symlink_to("circle")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tree)  # the name of a socket has at most 107 bytes
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        assert keys(tree) == ["a-b", "a.b", "a/b", "a/c/d", "ab", "link"]


def test_the_stores_own_files_are_hidden(tree):
    (tree / "a/.imagemill-tmp-1").touch()
    (tree / ".imagemill-lock").touch()
    (tree / ".imagemill").touch()
    assert keys(tree) == [".imagemill", "a-b", "a.b", "a/b", "a/c/d", "ab"]


def test_a_name_that_is_not_utf8_keeps_its_bytes(tmp_path):
    Path(tmp_path, os.fsdecode(b"\xff\xfe")).touch()
    assert [os.fsencode(key) for key in keys(tmp_path)] == [b"\xff\xfe"]
