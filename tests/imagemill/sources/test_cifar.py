import os
import pickle
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from imagemill.errors import CallerError, TemporaryFault
from imagemill.progress import Silent
from imagemill.sources.prepare import prepare
from imagemill.sources.tree import state_path
from imagemill.spec import CifarSource


@pytest.fixture
def run(tmp_path):
    def run(archive, tree="tree", **settings):
        source = CifarSource(type="cifar", archive=str(archive), **settings)
        return prepare(source, tmp_path / tree, downloads=tmp_path / "downloads", progress=Silent())

    return run


def pixels_of(path):
    return np.asarray(Image.open(path)).transpose(2, 0, 1).reshape(-1)


def test_every_image_has_its_pixels_its_label_and_its_split(run, archive_of, make_batch, meta, tmp_path):
    train, test = make_batch(5, labels=[1, 0, 1, 1, 0]), make_batch(3, seed=1)
    summary = run(archive_of({"data_batch_1": train, "batches.meta": meta, "test_batch": test}))
    assert (summary.rows, summary.written, summary.reused, summary.skipped) == (8, 8, 0, {})
    assert (tmp_path / "tree/labels.txt").read_text() == "cat\ndog\n"
    lines = (tmp_path / "tree/index.csv").read_text().splitlines()
    assert lines[0] == "filename,label,split,group"
    assert lines[1] == "test/test_batch/00000_pic_s_000000.png,cat,test"
    assert lines[4:] == [
        f"train/data_batch_1/{row:05d}_pic_s_{row:06d}.png,{label},train"
        for row, label in enumerate(["dog", "cat", "dog", "dog", "cat"])
    ]
    for name, batch in (("train/data_batch_1", train), ("test/test_batch", test)):
        for row, expected in enumerate(batch[b"data"]):
            path = tmp_path / f"tree/images/{name}/{row:05d}_pic_s_{row:06d}.png"
            assert np.array_equal(pixels_of(path), expected)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_the_pickle_protocol_does_not_matter(run, archive_of, make_batch, meta, tree_bytes, tmp_path, protocol):
    run(archive_of({"batches.meta": meta, "data_batch_1": make_batch()}, "a.tar.gz", protocol=2), "a")
    run(archive_of({"batches.meta": meta, "data_batch_1": make_batch()}, "b.tar.gz", protocol=protocol), "b")
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")


def test_column_major_data(run, archive_of, make_batch, meta, tree_bytes, tmp_path):
    batch = make_batch()
    run(archive_of({"batches.meta": meta, "data_batch_1": batch}, "a.tar.gz"), "a")
    fortran = batch | {b"data": np.asfortranarray(batch[b"data"])}
    run(archive_of({"batches.meta": meta, "data_batch_1": fortran}, "b.tar.gz"), "b")
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")


@pytest.mark.parametrize(("label", "expected"), [("fine", ["apple", "bear"]), ("coarse", ["fruit", "beast"])])
def test_cifar100(run, archive_of, make_batch, tmp_path, label, expected):
    batch = make_batch(2, labels=[0, 1], label_key=b"fine_labels", coarse_labels=[1, 0])
    meta = {b"fine_label_names": [b"apple", b"bear"], b"coarse_label_names": [b"fruit", b"beast"]}
    archive = archive_of({"train": batch, "meta": meta, "test": batch}, folder="cifar-100-python")
    assert run(archive, variant="cifar100", label=label).rows == 4
    assert (tmp_path / "tree/labels.txt").read_text().splitlines() == expected
    first = (tmp_path / "tree/index.csv").read_text().splitlines()[1]
    assert first == f"test/test/00000_pic_s_000000.png,{expected[0 if label == 'fine' else 1]},test"


def test_unsafe_original_names_are_left_out(run, archive_of, make_batch, meta, tmp_path):
    names = [b"../../x.png", b"a/b.png", b"\xff.png", b"ok.png", b"", b"sp ace.png", b"x" * 200]
    run(archive_of({"batches.meta": meta, "data_batch_1": make_batch(7, filenames=names)}))
    found = sorted(path.name for path in (tmp_path / "tree/images/train/data_batch_1").iterdir())
    assert found == [f"0000{row}{'_ok' if row == 3 else ''}.png" for row in range(7)]


def test_a_second_run_changes_nothing(run, small_archive, tmp_path):
    run(small_archive)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "tree").rglob("*")}
    summary = run(small_archive)
    assert (summary.rows, summary.written, summary.reused) == (8, 0, 8)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tree").rglob("*")} == stamps


def _truncate(tree):
    path = next((tree / "images/train/data_batch_1").iterdir())
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "image deleted": lambda tree: next((tree / "images/train/data_batch_1").iterdir()).unlink(),
    "image truncated": _truncate,
    "image added": lambda tree: (tree / "images/train/data_batch_1/x.png").write_bytes(b"x"),
    "folder added": lambda tree: (tree / "images/train/data_batch_1/sub").mkdir(),
    "foreign split": lambda tree: (tree / "images/valid/deep").mkdir(parents=True),
    "foreign file among images": lambda tree: (tree / "images/train/notes.txt").write_text("x"),
    "foreign file in the tree": lambda tree: (tree / "notes.txt").write_text("x"),
    "link in the tree": lambda tree: (tree / "images/link").symlink_to("/etc"),
    "batch gone": lambda tree: (tree / "images/test/test_batch").rename(tree / "images/test/other"),
    "index changed": lambda tree: (tree / "index.csv").write_text("filename,label\n"),
    "labels gone": lambda tree: (tree / "labels.txt").unlink(),
    "left by a killed run": lambda tree: (tree / ".imagemill-partial-1/train").mkdir(parents=True),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_whatever_happened_to_the_tree_is_repaired(run, small_archive, tree_bytes, tmp_path, damage):
    run(small_archive)
    tree = tmp_path / "tree"
    before = tree_bytes(tree)
    damage(tree)
    run(small_archive)
    assert tree_bytes(tree) == before
    assert {path.name for path in tree.rglob("*") if path.is_dir()} == {
        "images", "train", "test", "data_batch_1", "test_batch",
    }  # fmt: skip


def test_another_archive_leaves_nothing_of_the_first(run, archive_of, make_batch, meta, tree_bytes, tmp_path):
    run(archive_of({"batches.meta": meta, "data_batch_1": make_batch(9), "data_batch_2": make_batch(4)}, "a.tar.gz"))
    other = archive_of({"batches.meta": meta, "data_batch_1": make_batch(3, seed=5)}, "b.tar.gz")
    run(other)
    run(other, "fresh")
    assert tree_bytes(tmp_path / "tree") == tree_bytes(tmp_path / "fresh")


def test_an_archive_replaced_under_its_name_is_noticed(run, archive_of, make_batch, meta, tmp_path):
    archive = archive_of({"batches.meta": meta, "data_batch_1": make_batch(3)})
    run(archive)
    status = archive.stat()
    archive_of({"batches.meta": meta, "data_batch_1": make_batch(4)})
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert run(archive).rows == 4


def test_file_uris_are_paths(run, small_archive):
    assert run(small_archive.as_uri()).rows == 8


def test_a_folder_that_no_preparation_made_is_refused_untouched(run, small_archive, tmp_path, tree_bytes):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"precious")
    with pytest.raises(CallerError, match=r"photos is not empty and no preparation made it; nothing was touched"):
        run(small_archive, "photos")
    assert tree_bytes(tmp_path / "photos") == {"cat.jpg": b"precious"}


def test_photos_under_the_name_of_a_tree_that_is_gone_are_refused(run, small_archive, tmp_path, tree_bytes):
    run(small_archive)
    tree = tmp_path / "tree"
    tree.rename(tmp_path / "moved")
    tree.mkdir()
    (tree / "cat.jpg").write_bytes(b"precious")
    with pytest.raises(CallerError, match="not empty"):
        run(small_archive)
    # Even where the file system gave the new folder the old one's number.
    state = state_path(tree)
    state.write_text(
        state.read_text().replace(f'"inode": {(tmp_path / "moved").stat().st_ino}', f'"inode": {tree.stat().st_ino}')
    )
    with pytest.raises(CallerError, match="not empty"):
        run(small_archive)
    assert tree_bytes(tree) == {"cat.jpg": b"precious"}


def test_a_tree_that_is_a_file_is_refused(run, small_archive, tmp_path):
    (tmp_path / "tree").write_text("x")
    with pytest.raises(CallerError, match="tree"):
        run(small_archive)


def test_two_preparations_of_one_tree_exclude_each_other(run, small_archive, tmp_path):
    import fcntl

    (tmp_path / "tree").mkdir()
    descriptor = os.open(tmp_path / "tree", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(TemporaryFault, match="another preparation"):
            run(small_archive)
    finally:
        os.close(descriptor)
    assert run(small_archive).rows == 8


def refused(archive_of, members, run, **how):
    with pytest.raises(CallerError) as caught:
        run(archive_of(members, **how))
    return str(caught.value)


def test_missing_archive(run, tmp_path):
    with pytest.raises(CallerError, match=r"nowhere\.tar\.gz: the archive does not exist; check `source\.archive`"):
        run(tmp_path / "nowhere.tar.gz")
    with pytest.raises(CallerError, match="is a folder"):
        run(tmp_path)


def test_wrong_checksum(run, small_archive):
    with pytest.raises(CallerError, match="the spec wants 0000"):
        run(small_archive, sha256="0" * 64)


@pytest.mark.parametrize("content", [b"", b"not an archive at all", b"\x1f\x8b", b"\x1f\x8b\x08\x00" + bytes(50)])
def test_not_an_archive(run, tmp_path, content):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(CallerError, match="fetch the archive again"):
        run(path)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, -9, -1])
def test_cut_archive(run, small_archive, tmp_path, cut):
    whole = small_archive.read_bytes()
    small_archive.write_bytes(whole[: int(cut * len(whole)) if cut > 0 else cut])
    with pytest.raises(CallerError, match="fetch the archive again"):
        run(small_archive)
    assert not (tmp_path / "tree/index.csv").exists()


def test_one_flipped_bit_fails_the_gzip_checksum(run, archive_of, make_batch, meta):
    archive = archive_of({"batches.meta": meta, "data_batch_1": make_batch(50)})
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(CallerError, match="fetch the archive"):
        run(archive)


def test_a_gzip_bomb_is_refused_in_little_memory(run, tmp_path):
    import gzip

    path = tmp_path / "bomb.tar.gz"
    entry = tarfile.TarInfo("cifar-10-batches-py/readme")
    entry.size = 3 << 30
    path.write_bytes(gzip.compress(entry.tobuf()) + gzip.compress(bytes(1 << 20)) * 1100)
    tracemalloc.start()
    with pytest.raises(CallerError, match="unpacks to more than 1073741824 bytes"):
        run(path)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_a_member_that_claims_too_much_is_refused_unread(run, tmp_path):
    import gzip

    path = tmp_path / "claim.tar.gz"
    entry = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    entry.size = 1 << 40
    path.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(CallerError, match="claims 1099511627776 bytes"):
        run(path)


def test_code_in_a_pickle_is_never_run(run, archive_of, meta, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    message = refused(archive_of, {"batches.meta": meta, "data_batch_1": {b"data": Evil()}}, run)
    assert "'cifar-10-batches-py/data_batch_1' was refused" in message
    assert "posix.mkdir" in message
    assert not (tmp_path / "pwned").exists()


def test_members_that_are_no_batches_are_counted_and_never_extracted(run, archive_of, make_batch, meta, tmp_path):
    link = tarfile.TarInfo("cifar-10-batches-py/passwd")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("cifar-10-batches-py/null")
    device.type = tarfile.CHRTYPE
    folder = tarfile.TarInfo("cifar-10-batches-py")
    folder.type = tarfile.DIRTYPE
    members = {
        "folder": folder, "link": link, "device": device, "../../escape": b"x", "/absolute": b"x",
        "cifar-10-batches-py/" + "long" * 50: b"x", "readme.html": b"x", "other/data_batch_1": b"not a pickle",
        "batches.meta": meta, "data_batch_1": make_batch(),
    }  # fmt: skip
    summary = run(archive_of(members))
    assert summary.rows == 3
    assert summary.skipped["not_a_file"] >= 3
    assert summary.skipped["foreign_file"] >= 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.tar.gz", "tree", "tree.state.json"]


def test_a_batch_that_is_a_link_is_refused(run, archive_of, meta):
    link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    message = refused(archive_of, {"batches.meta": meta, "link": link}, run)
    assert "'cifar-10-batches-py/data_batch_1' is not a plain file" in message


BAD_BATCHES = {
    "no data": ({b"data": None}, "'data' NoneType, which must be an array of N x 3072"),
    "narrow data": ({b"data": np.zeros((3, 3071), np.uint8)}, r"'data' \(3, 3071\)"),
    "flat data": ({b"data": np.zeros(3072, np.uint8)}, r"'data' \(3072,\)"),
    "floats": ({b"data": np.zeros((3, 3072), np.float32)}, "dtype 'f4'"),
    "too few labels": ({b"labels": [0, 1]}, "3 images and 2 labels"),
    "labels missing": ({b"labels": None}, "no list 'labels'; is this the right `variant`"),
    "label out of range": (
        {b"labels": [0, 1, 2]},
        r"00002_pic_s_000002.png has the label 2, but 'batches.meta' names 2",
    ),
    "negative label": ({b"labels": [0, -1, 1]}, "the label of row 1 is -1"),
    "label is a text": ({b"labels": [0, b"1", 1]}, "the label of row 1 is a bytes"),
    "label is a truth value": ({b"labels": [0, True, 1]}, "the label of row 1 is True"),
    "too few filenames": ({b"filenames": [b"a"]}, "3 images and 1 filenames"),
}


@pytest.mark.parametrize(("change", "message"), BAD_BATCHES.values(), ids=BAD_BATCHES.keys())
def test_bad_batches_name_the_member_and_the_value(run, archive_of, make_batch, meta, tmp_path, change, message):
    with pytest.raises(CallerError, match=message) as caught:
        run(archive_of({"batches.meta": meta, "data_batch_1": make_batch() | change}))
    assert "archive.tar.gz" in str(caught.value)
    assert not (tmp_path / "tree/index.csv").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "not a list of class names"),
        ([b"cat", b"cat"], "names a class twice"),
        ([b"cat", b"do\ng"], r"name 'do\\ng'"),
        ([b"cat", b""], "name ''"),
        ([b"cat", b"\xff"], "name 'None'"),
        ([b"cat", 3], "name 'None'"),
    ],
)
def test_bad_class_names(run, archive_of, make_batch, names, message):
    with pytest.raises(CallerError, match=message):
        run(archive_of({"batches.meta": {b"label_names": names}, "data_batch_1": make_batch()}))


def test_parts_that_are_missing_or_double(run, archive_of, make_batch, meta):
    assert "has no batch in cifar-10-batches-py/" in refused(archive_of, {"batches.meta": meta}, run)
    assert "has no member cifar-10-batches-py/batches.meta" in refused(archive_of, {"data_batch_1": make_batch()}, run)
    double = {"batches.meta": meta, "data_batch_1": make_batch(), "./cifar-10-batches-py/data_batch_1": make_batch()}
    assert "is there twice" in refused(archive_of, double, run)
    assert "holds a list" in refused(archive_of, {"batches.meta": [1]}, run)


def test_the_other_variant_is_explained(run, archive_of, make_batch, meta):
    archive = archive_of({"batches.meta": meta, "data_batch_1": make_batch()})
    with pytest.raises(CallerError, match="is `variant` right"):
        run(archive, variant="cifar100")


def test_encoder_processes_write_the_same_bytes(run, archive_of, make_batch, meta, tree_bytes, tmp_path, monkeypatch):
    archive = archive_of(
        {"batches.meta": meta, "data_batch_1": make_batch(700), "data_batch_2": make_batch(10, seed=3)}
    )
    run(archive, "alone")
    monkeypatch.setattr("imagemill.sources.png.IN_PROCESS_IMAGES", 0)
    run(archive, "together")
    assert tree_bytes(tmp_path / "alone") == tree_bytes(tmp_path / "together")


PREPARE = """
import sys
from pathlib import Path
from imagemill.progress import Silent
from imagemill.sources import png
from imagemill.sources.prepare import prepare
from imagemill.spec import CifarSource
png.IN_PROCESS_IMAGES = int(sys.argv[3])
prepare(CifarSource(type="cifar", archive=sys.argv[1]), Path(sys.argv[2]), downloads=Path("unused"), progress=Silent())
"""


@pytest.mark.parametrize("in_process_images", [0, 10_000])
def test_killed_at_any_moment_it_is_finished_by_the_next_run(
    run, archive_of, make_batch, meta, tree_bytes, tmp_path, in_process_images
):
    batches = {f"data_batch_{number}": make_batch(150, seed=number) for number in range(1, 6)}
    archive = archive_of({"batches.meta": meta, **batches})
    run(archive, "undisturbed")
    tree = tmp_path / "tree"
    for kill_when in (1, 3):
        process = subprocess.Popen([sys.executable, "-c", PREPARE, archive, tree, str(in_process_images)])
        # Killed as soon as so many batches are whole: never before the first, never after the last.
        while process.poll() is None and len(list(tree.glob("images/*/*"))) < kill_when:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for folder in tree.glob("images/*/*"):
            assert len(list(folder.iterdir())) == 150
    summary = run(archive)
    assert summary.written + summary.reused == 750
    assert tree_bytes(tree) == tree_bytes(tmp_path / "undisturbed")


def test_an_encoder_that_outlived_its_preparation_leaves_nothing(run, small_archive, tree_bytes, tmp_path):
    """It writes into a killed preparation's folder as fast as it can while the next preparation clears up."""
    run(small_archive, "undisturbed")
    for attempt in range(5):
        leftover = tmp_path / f"tree/.imagemill-partial-{attempt}"
        leftover.mkdir(parents=True)
        outlived = subprocess.Popen([sys.executable, "-c", WRITE, leftover], stdout=subprocess.PIPE)
        outlived.stdout.readline()
        run(small_archive)
        outlived.communicate()
        assert outlived.returncode == 0
        assert tree_bytes(tmp_path / "tree") == tree_bytes(tmp_path / "undisturbed")


WRITE = """
import sys
from itertools import count
for number in count():
    try:
        open(f"{sys.argv[1]}/{number}", "w").close()
    except FileNotFoundError:
        break
    if number == 500:
        print(flush=True)
"""


def test_finished_batches_are_not_encoded_again(run, archive_of, make_batch, meta, tmp_path):
    good = {"batches.meta": meta, "data_batch_1": make_batch(5), "data_batch_2": make_batch(4)}
    archive = archive_of(good)
    run(archive)
    next((tmp_path / "tree/images/train/data_batch_2").iterdir()).unlink()
    summary = run(archive)
    assert (summary.written, summary.reused) == (4, 5)


def test_published_python_2_spelling(run, archive_of, make_batch, meta, tree_bytes, tmp_path):
    from imagemill.sources.cifar_archive import pickle_batch

    batch = make_batch(4)
    names = [name.decode() for name in batch[b"filenames"]]
    content = pickle_batch(pixels=batch[b"data"].tobytes(), labels=batch[b"labels"], filenames=names, title="x")
    assert np.array_equal(pickle.loads(content, encoding="bytes")[b"data"], batch[b"data"])
    run(archive_of({"batches.meta": meta, "data_batch_1": content}, "a.tar.gz"), "a")
    run(archive_of({"batches.meta": meta, "data_batch_1": batch}, "b.tar.gz"), "b")
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")
