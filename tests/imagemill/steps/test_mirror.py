"""What the receipt of a mirrored tree saves, and what it must never hide."""

import os

import pytest

from imagemill.progress import Silent
from imagemill.steps.mirror import mirror
from imagemill.storage.local import LocalStore
from imagemill.storage.stamps import Witness


class Mirrored:
    def __init__(self, root):
        self.source, self.destination, self.receipt = root / "tree", root / "staging", root / "receipt.json"
        for number in range(20):
            path = self.source / f"{number % 3}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"image {number:02}".encode())

    def __call__(self):
        summary = mirror(str(self.source), str(self.destination), receipt=self.receipt, progress=Silent())
        return summary.copied, summary.unchanged, summary.deleted

    def are_equal(self):
        first, second = (
            {path.relative_to(root): path.read_bytes() for path in root.rglob("*.png")}
            for root in (self.source, self.destination)
        )
        return first == second


@pytest.fixture
def mirrored(tmp_path):
    return Mirrored(tmp_path)


@pytest.fixture
def checksums(monkeypatch):
    """Counts the files whose bytes are read for a comparison."""
    read = []
    checked = LocalStore._checked
    monkeypatch.setattr(LocalStore, "_checked", lambda store, key: read.append(key) or checked(store, key))
    return read


def test_what_was_uploaded_is_not_read_again(mirrored, checksums):
    assert mirrored() == (20, 0, 0)
    checksums.clear()
    assert mirrored() == (0, 20, 0)
    assert checksums == []


def test_what_was_compared_is_not_read_again(mirrored, checksums):
    mirrored()
    mirrored.receipt.unlink()
    assert mirrored() == (0, 20, 0)
    assert checksums
    checksums.clear()
    assert mirrored() == (0, 20, 0)
    assert checksums == []


def write_in_secret(path):
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [
    pytest.param(lambda root: write_in_secret(root / "0" / "0.png"), id="rewritten, time set back"),
    pytest.param(lambda root: (root / "0" / "0.png").write_bytes(b"IMAGE 00"), id="rewritten"),
    pytest.param(lambda root: (root / "0" / "0.png").unlink(), id="removed"),
    pytest.param(lambda root: (root / "0" / "more.png").write_bytes(b"x"), id="added"),
]


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_either_side_is_seen(mirrored, side, change):
    mirrored()
    change(getattr(mirrored, side))
    assert not mirrored.are_equal()
    mirrored()
    assert mirrored.are_equal()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_change_while_it_copies_leaves_no_receipt(mirrored, monkeypatch, side, change):
    holds = Witness.holds

    def change_first(witness):
        change(getattr(mirrored, side))
        return holds(witness)

    with monkeypatch.context() as patch:
        patch.setattr(Witness, "holds", change_first)
        mirrored()
    assert not mirrored.receipt.exists() or not mirrored.are_equal()
    mirrored()
    assert mirrored.are_equal()


def test_a_change_right_after_the_copy_leaves_no_receipt(mirrored, monkeypatch):
    sync = "imagemill.steps.mirror.sync"
    from imagemill.storage.sync import sync as real

    def and_then(*arguments, **options):
        summary = real(*arguments, **options)
        (mirrored.destination / "0" / "0.png").write_bytes(b"IMAGE 00")
        return summary

    with monkeypatch.context() as patch:
        patch.setattr(sync, and_then)
        mirrored()
    assert not mirrored.receipt.exists()
    mirrored()
    assert mirrored.are_equal()


def test_the_receipt_is_for_two_places(mirrored, tmp_path):
    mirrored()
    mirrored.destination = tmp_path / "elsewhere"
    assert mirrored() == (20, 0, 0)
    assert mirrored.are_equal()


@pytest.mark.parametrize("text", ["", "{}", "no receipt", "\0"])
def test_a_damaged_receipt_is_none(mirrored, text):
    mirrored()
    mirrored.receipt.write_text(text)
    (mirrored.destination / "0" / "0.png").write_bytes(b"IMAGE 00")
    assert mirrored() == (1, 19, 0)
    assert mirrored.are_equal()
