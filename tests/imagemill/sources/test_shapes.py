import hashlib
import io
import pickle
import tarfile

import numpy as np

from imagemill.progress import Silent
from imagemill.sources.prepare import prepare
from imagemill.sources.shapes import draw_archive
from imagemill.spec import ShapesSource


def draw(tmp_path, **settings):
    return draw_archive(ShapesSource(type="shapes", **settings), tmp_path / "downloads")


def test_the_archive_has_the_same_bytes_on_every_machine(tmp_path):
    digest = hashlib.sha256(draw(tmp_path, train=40, test=10).read_bytes()).hexdigest()
    assert digest == "1574b7e21c1269f47bdadbcf359f84c3ce9fb4bda6ce82716627c98b4f9903ad"


def test_python_reads_it_as_it_reads_the_published_ones(tmp_path):
    with tarfile.open(draw(tmp_path, train=40, test=10)) as tar:
        members = {member.name: pickle.load(tar.extractfile(member), encoding="bytes") for member in tar}
    assert list(members) == [f"cifar-10-batches-py/{name}" for name in ("batches.meta", "data_batch_1", "test_batch")]
    names = members["cifar-10-batches-py/batches.meta"][b"label_names"]
    assert len(names) == len(set(names)) == 10
    batch = members["cifar-10-batches-py/data_batch_1"]
    assert batch[b"data"].shape == (40, 3072)
    assert batch[b"data"].dtype == np.uint8
    assert batch[b"labels"] == [row % 10 for row in range(40)]
    assert batch[b"filenames"][1] == names[1] + b"_train_000001.png"


def test_no_two_images_are_equal(tmp_path):
    with tarfile.open(draw(tmp_path)) as tar:
        data = [pickle.load(tar.extractfile(f"cifar-10-batches-py/{name}"), encoding="bytes")[b"data"]
                for name in ("data_batch_1", "test_batch")]  # fmt: skip
    images = {row.tobytes() for batch in data for row in batch}
    assert len(images) == 720


def test_every_setting_counts(tmp_path):
    settings = [(10, 10, 0), (11, 10, 0), (10, 11, 0), (10, 10, 1)]
    drawn = {draw(tmp_path, train=train, test=test, seed=seed).read_bytes() for train, test, seed in settings}
    assert len(drawn) == 4


def test_more_images_than_a_batch_holds(tmp_path):
    path = draw(tmp_path, train=10_001, test=10)
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        assert [name.rpartition("/")[2] for name in tar.getnames()][1:] == [
            "data_batch_1",
            "data_batch_2",
            "test_batch",
        ]


def test_the_tree(tmp_path):
    source = ShapesSource(type="shapes", train=30, test=20)
    for written in (50, 0):
        summary = prepare(source, tmp_path / "tree", downloads=tmp_path / "downloads", progress=Silent())
        assert (summary.rows, summary.written) == (50, written)
    labels = (tmp_path / "tree/labels.txt").read_text().splitlines()
    assert labels[:3] == ["circle", "square", "triangle"]
    index = (tmp_path / "tree/index.csv").read_text().splitlines()
    assert index[1] == "test/test_batch/00000_circle_test_000000.png,circle,test"
