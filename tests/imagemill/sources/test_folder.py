import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from imagemill.errors import CallerError
from imagemill.progress import Silent
from imagemill.sources.prepare import prepare
from imagemill.spec import FolderSource


@pytest.fixture
def root(tmp_path):
    return tmp_path / "photos"


@pytest.fixture
def grow(root):
    """Writes files below the root, each with its own name as content."""

    def grow(*names):
        for name in names:
            path = root / (os.fsdecode(name) if isinstance(name, bytes) else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(path.name))

    return grow


@pytest.fixture
def run(root, tmp_path):
    def run(tree="tree", **settings):
        source = FolderSource(type="folder", root=str(root), **settings)
        return prepare(source, tmp_path / tree, downloads=tmp_path / "downloads", progress=Silent())

    return run


@pytest.fixture
def index(tmp_path):
    return lambda tree="tree": (tmp_path / tree / "index.csv").read_text().splitlines()[1:]


def test_rows_are_sorted_by_the_bytes_of_the_whole_name(grow, run, index, tmp_path):
    grow("b/1.png", "a/x/2.JPG", "a/x.png", "a-b/3.gif", "a/ä.webp", "a/z.bmp", "日本/4.jpeg")
    summary = run()
    assert (summary.rows, summary.written, summary.skipped) == (7, 7, {})
    assert index() == [
        "a-b/3.gif,a-b", "a/x.png,a", "a/x/2.JPG,a", "a/z.bmp,a", "a/ä.webp,a", "b/1.png,b", "日本/4.jpeg,日本",
    ]  # fmt: skip
    names = [line.split(",")[0].encode() for line in index()]
    assert names == sorted(names)
    assert (tmp_path / "tree/images/a/x/2.JPG").read_bytes() == b"2.JPG"
    assert not (tmp_path / "tree/labels.txt").exists()


def test_images_are_hard_links(grow, run, root, tmp_path):
    grow("a/1.png")
    run()
    assert (tmp_path / "tree/images/a/1.png").samefile(root / "a/1.png")


def test_layout_split(grow, run, index):
    grow("train/cat/1.png", "train/cat/deep/2.png", "test/dog/3.png", "train/loose.png", "top.png")
    assert run(layout="split").skipped == {"no_label": 2}
    assert index() == ["test/dog/3.png,dog,test", "train/cat/1.png,cat,train", "train/cat/deep/2.png,cat,train"]


def test_labels_and_names_that_need_quotes(grow, run, index):
    grow('a, "b"/x,y.png', " padded /1.png")
    run()
    assert index() == [' padded /1.png," padded "', '"a, ""b""/x,y.png","a, ""b"""']


def test_what_is_skipped_is_counted_by_reason(grow, run, root, index):
    grow("a/1.png", "a/.hidden.png", ".git/a/2.png", "a/notes.txt", "loose.png", "a/no_ending", "a/.png")
    grow("a/line\nbreak.png", b"a/\xff.png", "a/back\\slash.png", b"\xfe/3.png", "a/" + "d" * 250 + "/" * 2 + "x.png")
    os.mkfifo(root / "a/pipe.png")
    (root / "a/link.png").symlink_to(root / "a/1.png")
    (root / "linked").symlink_to(root / "a")
    assert run().skipped == {
        "extension": 2, "hidden": 3, "no_label": 1, "not_a_file": 1, "symlink": 2, "unsafe_name": 4,
    }  # fmt: skip
    assert [line.split(",")[0] for line in index()] == ["a/1.png", "a/" + "d" * 250 + "/x.png"]


def test_extensions_can_be_chosen(grow, run, index):
    grow("a/1.png", "a/2.TIF", "a/3.tiff")
    run(extensions=("tif", ".TIFF"))
    assert index() == ["a/2.TIF,a", "a/3.tiff,a"]


def test_links_are_followed_inside_the_root_only(grow, run, root, index, tmp_path):
    grow("a/1.png", "a/sub/2.png", "z/3.png")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/4.png").write_bytes(b"secret")
    (root / "b").symlink_to(root / "a/sub")
    (root / "z/copy.png").symlink_to("../a/1.png")
    (root / "z/secret.png").symlink_to(tmp_path / "secret.png")
    (root / "z/sneaky.png").symlink_to("../../secret.png")
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "z/dangling.png").symlink_to("nowhere.png")
    (root / "z/self.png").symlink_to("self.png")
    (root / "z/dev.png").symlink_to("/dev/zero")
    summary = run(symlinks="follow")
    assert [line.split(",")[0] for line in index()] == [
        "a/1.png", "a/sub/2.png", "b/2.png", "z/3.png", "z/copy.png",
    ]  # fmt: skip
    assert summary.skipped == {"escaping_symlink": 4, "broken_symlink": 2}
    assert not (tmp_path / "tree/images/z/copy.png").is_symlink()
    assert (tmp_path / "tree/images/z/copy.png").read_bytes() == b"1.png"


def test_loops_of_links_end(grow, run, root, index):
    grow("a/1.png", "b/2.png")
    (root / "a/up").symlink_to(root)
    (root / "a/here").symlink_to(".")
    (root / "a/to_b").symlink_to(root / "b")
    (root / "b/to_a").symlink_to(root / "a")
    summary = run(symlinks="follow")
    assert [line.split(",")[0] for line in index()] == ["a/1.png", "a/to_b/2.png", "b/2.png", "b/to_a/1.png"]
    # up, here; to_a within a/to_b; and within b/to_a the links up, here and to_b.
    assert summary.skipped == {"looping_symlink": 6}


def test_a_second_run_changes_nothing(grow, run, tmp_path):
    grow("a/1.png", "b/2.png")
    run()
    stamps = {path: path.stat().st_ctime_ns for path in (tmp_path / "tree").rglob("*")}
    summary = run()
    assert (summary.written, summary.reused) == (0, 2)
    assert {path: path.stat().st_ctime_ns for path in (tmp_path / "tree").rglob("*")} == stamps


def test_changes_of_the_source_reach_the_tree(grow, run, root, tree_bytes, tmp_path):
    grow("a/1.png", "a/2.png", "a/3.png", "c/x/1.png", "d")
    run()
    (root / "a/1.png").unlink()
    (root / "a/2.png").unlink()
    (root / "a/2.png").write_bytes(b"other")
    shutil.rmtree(root / "c")
    grow("c/x.png", "a/3.png.png")
    (root / "a/3.png").unlink()
    grow("a/3.png/inner.png")
    summary = run()
    assert (summary.written, summary.reused) == (4, 0)
    run("fresh")
    assert tree_bytes(tmp_path / "tree") == tree_bytes(tmp_path / "fresh")
    assert sorted(path.name for path in (tmp_path / "tree/images/c").iterdir()) == ["x.png"]


def test_an_equal_copy_is_reused_and_a_changed_one_replaced(grow, run, tmp_path, root):
    grow("a/1.png", "a/2.png")
    run()
    for name, content in (("1.png", b"1.png"), ("2.png", b"2.pn_")):
        path = tmp_path / "tree/images/a" / name
        path.unlink()
        path.write_bytes(content)
    summary = run()
    assert (summary.written, summary.reused) == (1, 1)
    assert (tmp_path / "tree/images/a/2.png").read_bytes() == b"2.png"
    assert (root / "a/2.png").read_bytes() == b"2.png"


def test_strangers_in_the_tree_go_away_and_their_targets_stay(grow, run, tree_bytes, tmp_path, root):
    grow("a/1.png", "b/2.png")
    run()
    before = tree_bytes(tmp_path / "tree")
    tree = tmp_path / "tree"
    (tree / "images/a/9.png").write_bytes(b"x")
    (tree / "images/0/empty/deep").mkdir(parents=True)
    (tree / "images/zz").symlink_to(root)
    (tree / "images/b/2.png").unlink()
    (tree / "images/b/2.png").symlink_to(root / "b/2.png")
    (tree / "labels.txt").write_text("x")
    (tree / "more").mkdir()
    run()
    assert tree_bytes(tree) == before
    assert not (tree / "images/b/2.png").is_symlink()
    assert not (tree / "images/0").exists()
    assert not (tree / "more").exists()
    assert (root / "b/2.png").read_bytes() == b"2.png"


def test_nothing_found_explains_the_rules(grow, run, root):
    root.mkdir()
    with pytest.raises(CallerError, match=r"photos holds no image .* <label>/…/<image> ending in png.*it is empty"):
        run()
    grow("loose.png", "a/x.txt")
    with pytest.raises(CallerError, match=r"<split>/<label>/…/<image>.*Skipped: 1 extension, 1 no_label"):
        run(layout="split")


def test_roots_that_cannot_be(grow, run, root, tmp_path):
    with pytest.raises(CallerError, match=r"`source\.root`: .*photos does not exist"):
        run()
    root.write_text("x")
    with pytest.raises(CallerError, match="is not a folder"):
        run()
    root.unlink()
    grow("a/1.png")
    with pytest.raises(CallerError, match="one holds the other"):
        run("photos/tree")
    assert sorted(path.name for path in root.iterdir()) == ["a"]


def test_very_deep_folders_do_not_crash(grow, run, root, index):
    grow("a/1.png")
    here = os.open(root, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    try:
        assert run().skipped == {"unsafe_name": 1}
        assert index() == ["a/1.png,a"]
    finally:
        # Python's own rmtree recurses: pytest's clean-up of old folders would fail on this one, some runs later.
        subprocess.run(["rm", "-rf", root / "d"], check=True)


def test_across_file_systems_images_are_copied(grow, run, root, tree_bytes, tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    grow("a/1.png", "b/2.png")
    run()
    source = FolderSource(type="folder", root=str(root))
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        tree = Path(elsewhere, "tree")
        for written in (2, 0):
            assert prepare(source, tree, downloads=tmp_path, progress=Silent()).written == written
        assert tree_bytes(tree) == tree_bytes(tmp_path / "tree")
