import random

import pytest

from imagemill.errors import CallerError, TemporaryFault
from imagemill.external_sort import sorted_lines
from imagemill.index import iter_lines, parse_row
from imagemill.progress import Silent
from imagemill.rows import Reason, Rejected
from imagemill.sources.csv_index import _chunks
from imagemill.sources.prepare import needs_prepare, prepare
from imagemill.spec import CifarSource, IndexSource
from imagemill.storage import open_store
from tests.support.gcs.server import client_environment, emulator


@pytest.fixture
def csv(tmp_path):
    def csv(content, name="data/rows.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return csv


@pytest.fixture
def images(tmp_path):
    def images(*names, folder="data"):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())

    return images


@pytest.fixture
def run(tmp_path):
    def run(index, tree="tree", **settings):
        source = IndexSource(type="index", index=str(index), **settings)
        return prepare(source, tmp_path / tree, downloads=tmp_path / "downloads", progress=Silent())

    return run


@pytest.fixture
def lines(tmp_path):
    return lambda tree="tree": (tmp_path / tree / "index.csv").read_bytes().splitlines()[1:]


def found(tmp_path):
    return sorted(
        str(path.relative_to(tmp_path / "tree/images"))
        for path in (tmp_path / "tree/images").rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize(
    "content",
    [
        "b.png,dog\na.png,cat\n",
        "filename,label\nb.png,dog\na.png,cat",
        "Path,Class,Split,Group\r\nb.png,dog,,\r\n\r\na.png,cat\r\n",
        "\ufeffimage,label\na.png,cat\nb.png,dog\n",
        '\ufeff"b.png", dog\n"a.png","cat"\n',
    ],
)
def test_spellings_of_one_index_give_one_index(csv, images, run, lines, tmp_path, content):
    images("a.png", "b.png")
    summary = run(csv(content))
    assert (summary.rows, summary.written, summary.bad_rows, summary.missing) == (2, 2, 0, 0)
    assert lines() == [b"a.png,cat", b"b.png,dog"]
    assert found(tmp_path) == ["a.png", "b.png"]


def test_images_under_a_root_of_their_own(csv, images, run, tmp_path):
    images("x/a.png", folder="elsewhere")
    assert run(csv("x/a.png,cat,train,g1\n"), images=str(tmp_path / "elsewhere")).written == 1
    assert found(tmp_path) == ["x/a.png"]


def test_no_row_is_lost(csv, images, run, lines, tmp_path):
    images("a.png", "../secret.png")
    bad = [
        b"only_one_column",
        b"../secret.png,cat",
        b"/etc/passwd,cat",
        b'x.png,"open',
        b"\xff.png,cat",
        b"a.png,b,c,d,e",
    ]
    good = [b"a.png,cat", b"gone.png,dog", b"a.png,dog", b"a.png,cat", b"a.png/below,cat", b"n" * 300 + b",cat"]
    summary = run(csv(b"\n".join(bad + good)))
    assert (summary.rows, summary.bad_rows) == (12, 6)
    assert sorted(lines()) == sorted(bad + good)
    assert (summary.written, summary.missing) == (1, 3)
    assert found(tmp_path) == ["a.png"]
    reasons = [row.reason for row in map(parse_row, iter_lines([b"\n".join(lines())])) if isinstance(row, Rejected)]
    assert sorted(reasons) == [Reason.BAD_ROW] * 4 + [Reason.UNSAFE_NAME] * 2


def test_the_order_of_the_rows_does_not_matter(csv, run, tree_bytes, tmp_path, monkeypatch):
    rows = [f"{number:04d}.png,{label}" for number in range(500) for label in ("cat", "dog")]
    run(csv("\n".join(rows)), "a")
    random.Random(1).shuffle(rows)
    monkeypatch.setitem(sorted_lines.__kwdefaults__, "chunk", 90)
    run(csv("\n".join(rows)), "b")
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")


def test_links_lead_to_images_inside_the_folder_only(csv, images, run, tmp_path):
    images("real/a.png", "b.png")
    images("secret.png", folder="outside")
    (tmp_path / "data/inside.png").symlink_to("real/a.png")
    (tmp_path / "data/escape.png").symlink_to("../outside/secret.png")
    (tmp_path / "data/out").symlink_to(tmp_path / "outside")
    (tmp_path / "data/loop.png").symlink_to("loop.png")
    summary = run(csv("inside.png,x\nescape.png,x\nout/secret.png,x\nloop.png,x\nreal,x\nb.png,x\n"))
    assert (summary.written, summary.missing) == (2, 4)
    assert found(tmp_path) == ["b.png", "inside.png"]
    assert not (tmp_path / "tree/images/inside.png").is_symlink()


def test_an_image_that_vanished_or_lost_its_row_leaves_the_tree(csv, images, run, lines, tmp_path):
    images("a.png", "b.png", "c/d.png")
    run(csv("a.png,x\nb.png,x\nc/d.png,x\n"))
    (tmp_path / "data/a.png").unlink()
    summary = run(csv("a.png,x\nb.png,x\n"))
    assert (summary.reused, summary.missing) == (1, 1)
    assert found(tmp_path) == ["b.png"]
    assert not (tmp_path / "tree/images/c").exists()
    assert lines() == [b"a.png,x", b"b.png,x"]


def test_a_second_run_changes_nothing(csv, images, run, tmp_path):
    images("a.png")
    index = csv("a.png,x\n")
    run(index)
    stamps = {path: path.stat().st_ctime_ns for path in (tmp_path / "tree").rglob("*")}
    assert run(index).reused == 1
    assert {path: path.stat().st_ctime_ns for path in (tmp_path / "tree").rglob("*")} == stamps


def test_mistakes_of_the_caller(csv, images, run, tmp_path):
    images("folder.csv/a.png")
    with pytest.raises(CallerError, match=r"nothing\.csv does not exist; name the CSV"):
        run(tmp_path / "data/nothing.csv")
    for empty in ("", "\ufeff", "\n\n", "filename,label\n"):
        with pytest.raises(CallerError, match=r"has no rows; a row is filename,label\[,split\[,group\]\]"):
            run(csv(empty))
    with pytest.raises(CallerError, match="column 'weight' stands where 'split' belongs"):
        run(csv("filename,label,weight\na.png,x,1\n"))
    with pytest.raises(CallerError, match=r"`source\.images`: .* does not exist"):
        run(csv("a.png,x\n"), images=str(tmp_path / "nowhere"))
    with pytest.raises(CallerError, match="is a folder"):
        run(tmp_path / "data/folder.csv")
    with pytest.raises(CallerError, match="one holds the other"):
        run(csv("a.png,x\n"), "data/tree")
    with pytest.raises(CallerError, match="reads local folders only"):
        run(csv("a.png,x\n"), images="gs://bucket/images")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (IndexSource(type="index", index="gs://b/rows.csv"), False),
        (IndexSource(type="index", index="gs://b/rows.csv", images="gs://c/images"), False),
        (IndexSource(type="index", index="gs://b/rows.csv", images="/data/images"), True),
        (IndexSource(type="index", index="/data/rows.csv"), True),
        (CifarSource(type="cifar", archive="gs://b/cifar.tar.gz"), True),
    ],
)
def test_needs_prepare(source, expected):
    assert needs_prepare(source) is expected


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), backend="memory", buckets=["mill"]) as running:
        yield running


class TestInABucket:
    @pytest.fixture
    def bucket(self, gcs, monkeypatch):
        for name, value in client_environment(gcs.url).items():
            monkeypatch.setenv(name, value)
        return open_store("gs://mill")

    def test_it_is_read_in_pieces(self, bucket):
        content = random.Random(0).randbytes(3_000_000)
        bucket.write("rows.csv", content)
        assert b"".join(_chunks("gs://mill", "rows.csv")) == content

    def test_one_that_is_replaced_while_it_is_read_is_not_mixed(self, bucket):
        bucket.write("rows.csv", b"a.png,x\n" * 200_000)
        pieces = _chunks("gs://mill", "rows.csv")
        next(pieces)
        bucket.write("rows.csv", b"b.png,y\n" * 200_000)
        with pytest.raises(TemporaryFault, match=r"gs://mill/rows\.csv changed while it was read"):
            list(pieces)

    def test_one_that_is_not_there_is_the_callers_mistake(self, bucket):
        with pytest.raises(CallerError, match=r"gs://mill/none\.csv does not exist"):
            next(_chunks("gs://mill", "none.csv"))
