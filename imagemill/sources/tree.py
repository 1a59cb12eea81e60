"""The prepared tree: `images/…`, `index.csv` and perhaps `labels.txt`, and what is known of it beside it.

Nothing half-written ever has a final name: files and folders are written under a reserved name that no listing shows
and renamed when whole. The state file `<tree>.state.json` stands beside the tree, since the tree is mirrored as it is.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage.atomic import make_folder
from imagemill.storage.faults import os_fault
from imagemill.storage.uri import RESERVED

INDEX = "index.csv"
LABELS = "labels.txt"
IMAGES = "images"

PREPARATION_VERSION = 1
"""Version of everything that is written into a tree. A change of bytes or names needs a new one."""

_PARTIAL = f"{RESERVED}partial-"
_RETIRE_ATTEMPTS = 5


class PrepareSummary(BaseModel):
    """What a preparation found and did."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=0, description="index rows, good and bad")
    written: int = Field(ge=0, description="images written, linked or replaced")
    reused: int = Field(ge=0, description="images that were already there")
    bad_rows: int = Field(0, ge=0, description="rows kept to the letter that the conversion will reject")
    missing: int = Field(0, ge=0, description="good rows whose image is not there")
    skipped: dict[str, int] = Field(default_factory=dict, description="source entries that are no rows, by reason")


class TreeState(BaseModel):
    """What is known of a tree: whose it is, what it was made from, which parts are whole."""

    preparation: int = PREPARATION_VERSION
    inode: int
    identity: dict[str, str] = Field(description="what determines the tree's bytes")
    hints: dict[str, str] = Field(default_factory=dict, description="what saves reading the source again")
    units: dict[str, str] = Field(default_factory=dict, description="listing digest of each whole folder of images")
    files: dict[str, str] = Field(default_factory=dict, description="sha256 of each file beside the images, once done")
    summary: PrepareSummary | None = None


class PreparedTree:
    """A tree that this process has claimed. Made by `open_tree`.

    Attributes:
        root: The tree's folder.
        images: Root of the images.
        partial: Folder for whatever is not whole yet, on the same file system, gone afterwards.
        state: What is known of the tree; `save` makes a change of it durable.
    """

    def __init__(self, root: Path, state: TreeState) -> None:
        self.root = root
        self.images = root / IMAGES
        self.partial = root / f"{_PARTIAL}{secrets.token_hex(6)}"
        self.state = state

    def begin(self, identity: dict[str, str]) -> None:
        """Binds the tree to a source; what was made from another one counts for nothing any more."""
        if self.state.identity != identity or self.state.preparation != PREPARATION_VERSION:
            self.state = TreeState(inode=self.state.inode, identity=identity, hints=self.state.hints)
            self.save()
            for name in (INDEX, LABELS):
                remove(self.root / name)

    def save(self) -> None:
        """Writes the state file by atomic rename."""
        target = state_path(self.root)
        partial = target.with_name(f"{RESERVED}{target.name}")
        partial.write_text(self.state.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.replace(target)

    def is_whole(self) -> bool:
        """Tells whether everything stands as the last finished preparation left it, file sizes included."""
        return (
            self.state.summary is not None
            and self._top_level() == {IMAGES, *self.state.files}
            and all(file_digest(self.root / name) == digest for name, digest in self.state.files.items())
            and self._folders() == _with_parents(self.state.units)
            and all(map(self.unit_is_whole, self.state.units))
        )

    def unit_is_whole(self, unit: str) -> bool:
        """Tells whether a folder of images is as it was when it got its name."""
        known = self.state.units.get(unit)
        return known is not None and known == listing_digest(self.images / unit)

    def finish_unit(self, unit: str, folder: Path) -> None:
        """Gives a whole folder of images its final name, in the place of whatever was there."""
        target = self.images / unit
        digest = listing_digest(folder)
        remove(target)
        self._clear_way(target)
        folder.replace(target)
        if digest is not None:
            self.state.units[unit] = digest
        self.save()

    def keep_units(self, units: Iterable[str]) -> None:
        """Removes every folder and file below the images that belongs to none of these units."""
        wanted = set(units)
        self.state.units = {unit: digest for unit, digest in self.state.units.items() if unit in wanted}
        expected = _with_parents(wanted)
        for folder in ["", *sorted(expected - wanted)]:
            for entry in list(os.scandir(self.images / folder)):
                if f"{folder}/{entry.name}".lstrip("/") not in expected:
                    remove(Path(entry.path))

    def write_file(self, name: str, chunks: Iterable[bytes]) -> None:
        """Writes a file beside the images; one with the same bytes is left alone."""
        partial, target = self.partial / name, self.root / name
        with partial.open("wb") as file:
            file.writelines(chunks)
        digest = file_digest(partial)
        if target.is_symlink() or file_digest(target) != digest:
            if target.is_dir():
                remove(target)
            partial.replace(target)
        if digest is not None:
            self.state.files[name] = digest

    def finish(self, summary: PrepareSummary) -> PrepareSummary:
        """Removes what does not belong to the tree and declares it done."""
        for name in self._top_level() - {IMAGES, *self.state.files}:
            remove(self.root / name)
        self.state.summary = summary
        self.save()
        return summary

    def _top_level(self) -> set[str]:
        return {entry.name for entry in self.root.iterdir() if not entry.name.startswith(RESERVED)}

    def _folders(self) -> set[str]:
        """Returns every entry of the images down to the units, relative, so that strangers show."""
        found: set[str] = set()
        pending = [""]
        while pending:
            folder = pending.pop()
            if folder in self.state.units:
                continue
            for entry in os.scandir(self.images / folder) if (self.images / folder).is_dir() else ():
                name = f"{folder}/{entry.name}".lstrip("/")
                found.add(name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)
        return found

    def _clear_way(self, target: Path) -> None:
        """Makes the folder above `target`, also where a file of an older source has its name."""
        for parent in reversed(target.relative_to(self.root).parents[:-1]):
            if (self.root / parent).is_symlink() or (self.root / parent).is_file():
                remove(self.root / parent)
        make_folder(str(target.parent))


@contextmanager
def open_tree(tree: Path) -> Iterator[PreparedTree]:
    """Claims a folder for a preparation and holds it against others.

    Raises:
        CallerError: The folder has content that no preparation put there, or cannot be written.
        TemporaryFault: Another preparation is at work on it.
    """
    root = tree.resolve()
    try:
        make_folder(str(root))
        with _exclusive(root):
            state = _claim(root)
            for leftover in root.glob(f"{RESERVED}*"):
                _retire(leftover)
            prepared = PreparedTree(root, state)
            prepared.partial.mkdir()
            try:
                prepared._clear_way(prepared.images / "x")
                yield prepared
            finally:
                remove(prepared.partial)
    except OSError as error:
        raise os_fault(error, str(error.filename or root), "prepare") from error


def state_path(tree: Path) -> Path:
    """Returns where the state of a tree is kept."""
    return tree.with_name(f"{tree.name}.state.json")


def listing_digest(folder: Path) -> str | None:
    """Returns a digest of the names and sizes in a folder of plain files, or None where it is something else."""
    try:
        with os.scandir(folder) as entries:
            lines = [
                f"{entry.stat(follow_symlinks=False).st_size} {entry.name}\0"
                for entry in entries
                if entry.is_file(follow_symlinks=False) or _stranger(entry)
            ]
    except (FileNotFoundError, NotADirectoryError, _StrangerFound):
        return None
    return hashlib.blake2b("".join(sorted(lines)).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def file_digest(path: Path) -> str | None:
    """Returns a file's sha256, or None where there is no file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def remove(path: Path) -> None:
    """Removes a file, a link (never its target) or a whole folder; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _retire(leftover: Path) -> None:
    """Removes what a killed preparation left, while an encoder that outlived it may still be writing there."""
    # Encoders write by path: under another name, nothing new can come, save for what is being created right now.
    gone = leftover.with_name(f"{RESERVED}gone-{secrets.token_hex(6)}")
    leftover.replace(gone)
    for _ in range(_RETIRE_ATTEMPTS):
        try:
            remove(gone)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    remove(gone)


class _StrangerFound(Exception):
    pass


def _stranger(entry: os.DirEntry[str]) -> bool:
    raise _StrangerFound(entry.path)


def _with_parents(units: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for unit in units:
        parts = unit.split("/")
        names.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names


@contextmanager
def _exclusive(root: Path) -> Iterator[None]:
    # The lock is on the folder itself: it leaves no file in the tree, and it ends with the process.
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TemporaryFault(f"{root}: another preparation is at work on this folder; try again later") from None
        yield
    finally:
        os.close(descriptor)


def _claim(root: Path) -> TreeState:
    inode = root.stat().st_ino
    state = _load_state(root)
    found = {entry.name for entry in root.iterdir() if not entry.name.startswith(RESERVED)}
    if found and (state is None or not _is_ours(root, state, found)):
        raise CallerError(
            f"{root} is not empty and no preparation made it; nothing was touched: "
            "give another folder, or empty this one yourself"
        )
    if state is None:
        state = TreeState(inode=inode, identity={})
    state.inode = inode
    PreparedTree(root, state).save()
    return state


def _is_ours(root: Path, state: TreeState, found: set[str]) -> bool:
    """Tells a tree that the state file is about from somebody's photos under the name of a tree that is gone."""
    if INDEX in state.files and state.files[INDEX] == file_digest(root / INDEX):
        return True
    # Inode numbers come back: the same number says little unless the content looks like an unfinished tree.
    return state.inode == root.stat().st_ino and found <= {IMAGES, INDEX, LABELS}


def _load_state(root: Path) -> TreeState | None:
    try:
        return TreeState.model_validate_json(state_path(root).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
