"""Bring images into a tree by hard link, or by copy where the file system cannot link."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.storage.atomic import make_folder

if TYPE_CHECKING:
    from imagemill.progress import Progress

_CANNOT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP})
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ})

_ADVANCE = 100


@dataclass
class Placed:
    """How many images came into a tree, were there already, and were nowhere."""

    written: int = 0
    reused: int = 0
    missing: int = 0


def place_images(
    names: Iterable[str], images: Path, *, find: Callable[[str], str | None], partial: Path, progress: Progress
) -> Placed:
    """Puts the images of these names below `images`; one that is there and identical stays.

    Args:
        names: Safe names, sorted; a repeated name counts once.
        images: Root of the tree's images.
        find: Returns the path of a name's image, or None where there is none; what the tree had of it goes away.
        partial: Folder for unfinished copies, on the tree's file system.
        progress: Told of the images.
    """
    placed = Placed()
    last = None
    for count, name in enumerate(names, start=1):
        if count % _ADVANCE == 0:
            progress.advance(_ADVANCE)
        if name == last:
            continue
        last = name
        source, target = find(name), f"{images}/{name}"
        if source is None:
            with suppress(FileNotFoundError, NotADirectoryError, OSError):
                os.unlink(target)
            placed.missing += 1
        elif place(source, target, partial):
            placed.written += 1
        else:
            placed.reused += 1
    return placed


def place(source: str, target: str, partial: Path) -> bool:
    """Puts one image at `target`, whole or not at all; returns whether anything had to be done."""
    found = _status(target)
    if found is not None:
        wanted = os.stat(source)
        if os.path.samestat(found, wanted):
            return False
        if found.st_size == wanted.st_size and filecmp.cmp(source, target, shallow=False):
            return False
    else:
        with suppress(FileNotFoundError):
            if _link(source, target):
                return True
        make_folder(os.path.dirname(target))
    unfinished = f"{partial}/image"
    if not _link(source, unfinished):
        shutil.copyfile(source, unfinished)
    os.replace(unfinished, target)
    return True


def remove_others(images: Path, names: Iterable[str]) -> None:
    """Removes every file below `images` that is not among the sorted names, every link, and every empty folder.

    Both sides are walked in step, so that the memory does not grow with the tree.
    """
    expected = iter(names)
    wanted = next(expected, None)
    for key in _walk(str(images)):
        while wanted is not None and wanted < key:
            wanted = next(expected, None)
        path = f"{images}/{key}"
        if key.endswith("/"):
            with suppress(OSError):  # not empty: something in it is wanted
                os.rmdir(path)
        elif wanted != key or os.path.islink(path):
            os.unlink(path)


def find_below(root: str) -> Callable[[str], str | None]:
    """Returns what finds a safe name's image below a folder, links followed as long as they stay inside."""
    real_root = os.path.realpath(root)
    inside: dict[str, bool] = {}

    def stays_inside(path: str) -> bool:
        return f"{os.path.realpath(path)}/".startswith(f"{real_root.rstrip('/')}/")

    def find(name: str) -> str | None:
        path = f"{root}/{name}"
        folder = os.path.dirname(path)
        if folder not in inside:
            inside[folder] = stays_inside(folder)
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                path = os.path.realpath(path)
                status = os.stat(path)
                if not stays_inside(path):
                    return None
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        return path if inside[folder] and stat.S_ISREG(status.st_mode) else None

    return find


def _link(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _walk(root: str) -> Iterator[str]:
    """Yields the files below a folder in the order of their keys, and each folder, with "/" at its end, after them."""
    stack = [("", _sorted_names(root))]
    while stack:
        prefix, names = stack[-1]
        for name in names:
            if name.endswith("/"):
                stack.append((prefix + name, _sorted_names(f"{root}/{prefix}{name}")))
                break
            yield prefix + name
        else:
            stack.pop()
            if prefix:
                yield prefix


def _sorted_names(folder: str) -> Iterator[str]:
    # With "/" at the end of folders, a depth-first walk meets whole keys in order ("a.b" before "a/b").
    with os.scandir(folder) as entries:
        return iter(sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries))
