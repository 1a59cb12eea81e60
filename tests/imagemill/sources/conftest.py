"""Small archives in CIFAR's layout, packed by Python's own pickle and tarfile."""

import io
import pickle
import tarfile

import numpy as np
import pytest


def batch(rows=3, *, seed=0, labels=None, filenames=None, label_key=b"labels", **more):
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, 3072), dtype=np.uint8)
    return {
        b"data": pixels,
        label_key: [row % 2 for row in range(rows)] if labels is None else labels,
        b"filenames": [f"pic_s_{row:06d}.png".encode() for row in range(rows)] if filenames is None else filenames,
        **{key.encode(): value for key, value in more.items()},
    }


META = {b"label_names": [b"cat", b"dog"]}


def pack(path, members, *, folder="cifar-10-batches-py", protocol=2):
    """Writes members (name -> value to pickle, bytes, or TarInfo without content) into a .tar.gz."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, value in members.items():
            if isinstance(value, tarfile.TarInfo):
                tar.addfile(value)
                continue
            content = value if isinstance(value, bytes) else pickle.dumps(value, protocol)
            entry = tarfile.TarInfo(f"{folder}/{name}" if "/" not in name else name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def archive_of(tmp_path):
    """Packs an archive under the test's folder."""
    return lambda members, name="archive.tar.gz", **how: pack(tmp_path / name, members, **how)


@pytest.fixture
def make_batch():
    return batch


@pytest.fixture
def meta():
    return META


@pytest.fixture
def small_archive(archive_of):
    return archive_of({"batches.meta": META, "data_batch_1": batch(5), "test_batch": batch(3, seed=1)})


@pytest.fixture
def tree_bytes():
    """Reads a whole tree: relative path -> bytes, hidden entries included."""
    return lambda tree: {
        str(path.relative_to(tree)): path.read_bytes() if path.is_file() else None
        for path in sorted(tree.rglob("*"))
        if not path.is_dir()
    }
