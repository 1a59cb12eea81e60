"""A folder per class: `<root>/<label>/…/<image>`, or `<root>/<split>/<label>/…/<image>`."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagemill.errors import CallerError
from imagemill.index import MAX_NAME_BYTES, format_row, name_fault
from imagemill.rows import Row
from imagemill.sources.links import place_images, remove_others
from imagemill.sources.rows_file import RowsFile
from imagemill.sources.tree import PreparedTree, PrepareSummary
from imagemill.storage import uri

if TYPE_CHECKING:
    from pathlib import Path

    from imagemill.progress import Progress
    from imagemill.spec import FolderSource


def prepare_folder(source: FolderSource, tree: PreparedTree, *, root: str, progress: Progress) -> PrepareSummary:
    """Makes the tree of a folder, `root` by `images_root`; `docs/sources.md` has the rules.

    Raises:
        CallerError: The folder has no image.
    """
    tree.begin({"source": "folder", "root": root, "layout": source.layout})
    walk = FolderWalk(source, root)
    rows = RowsFile(tree)
    progress.begin(f"scan {root}", total=None, unit="images")
    try:
        rows.write((format_row(row) for row in walk.rows()), progress)
    finally:
        progress.end()
    if not rows.count:
        raise CallerError(_nothing_found(source, root, walk.skipped))
    remove_others(tree.images, rows.names())
    progress.begin(f"prepare {root}", total=rows.count, unit="images")
    try:
        placed = place_images(rows.names(), tree.images, find=walk.find, partial=tree.partial, progress=progress)
    finally:
        progress.end()
    rows.become_index()
    return tree.finish(
        PrepareSummary(
            rows=rows.count,
            written=placed.written,
            reused=placed.reused,
            missing=placed.missing,
            skipped=dict(sorted(walk.skipped.items())),
        )
    )


def images_root(location: str, tree: Path, *, setting: str) -> str:
    """Returns the path of an existing local folder that shares nothing with the tree.

    Raises:
        CallerError: It is not one.
    """
    place = uri.parse(location)
    if not place.is_local:
        raise CallerError(
            f"`{setting}` is {location}, and this source reads local folders only: sync it to this machine first "
            "(`imagemill sync`), or describe images in a bucket by an index beside them (`type: index`)"
        )
    if not os.path.isdir(place.path):
        what = "is not a folder" if os.path.exists(place.path) else "does not exist"
        raise CallerError(f"`{setting}`: {place.path} {what}; name the folder that holds the images")
    own = uri.parse(tree)
    if place.contains(own) or own.contains(place):
        raise CallerError(
            f"`{setting}` is {place.path} and the prepared tree is {own}: one holds the other; prepare elsewhere"
        )
    return place.path


class FolderWalk:
    """Walks a folder by the rules of the `folder` source.

    Attributes:
        skipped: What was passed over, by reason.
    """

    def __init__(self, source: FolderSource, root: str) -> None:
        self.skipped: Counter[str] = Counter()
        self._source = source
        self._root = root
        self._real_root = os.path.realpath(root)
        self._endings = tuple(f".{ending.lower().lstrip('.')}" for ending in source.extensions)
        self._depth = 1 if source.layout == "label" else 2

    def rows(self) -> Iterator[Row]:
        """Yields a row for each image, sorted by the UTF-8 bytes of its name."""
        for name in self._names():
            folders = name.split("/")
            if self._source.layout == "label":
                yield Row(name, folders[0])
            else:
                yield Row(name, folders[1], folders[0])

    def find(self, name: str) -> str | None:
        """Returns the path of the file a name stands for, or None where it has gone meanwhile."""
        path = f"{self._root}/{name}"
        if self._source.symlinks == "follow":
            path = os.path.realpath(path)
        return path if os.path.isfile(path) else None

    def _names(self) -> Iterator[str]:
        # A stack, not recursion: paths nest deeper than Python's calls.
        stack = [("", self._entries("", inside_link=False), False)]
        while stack:
            prefix, entries, inside_link = stack[-1]
            for name, is_link in entries:
                if name.endswith("/"):
                    inner = inside_link or is_link
                    stack.append((prefix + name, self._entries(prefix + name, inside_link=inner), inner))
                    break
                if self._is_image(prefix + name):
                    yield prefix + name
            else:
                stack.pop()

    def _entries(self, prefix: str, *, inside_link: bool) -> Iterator[tuple[str, bool]]:
        """Returns names and whether they are links; folders have "/" at their end, so that whole keys are in order."""
        found = []
        if len(os.fsencode(prefix)) > MAX_NAME_BYTES:
            self.skipped["unsafe_name"] += 1
            return iter(())
        with os.scandir(f"{self._root}/{prefix}") as entries:
            for entry in entries:
                kind = self._kind(entry, inside_link=inside_link)
                if kind in ("", "/"):
                    found.append((entry.name + kind, entry.is_symlink()))
                else:
                    self.skipped[kind] += 1
        return iter(sorted(found))

    def _kind(self, entry: os.DirEntry[str], *, inside_link: bool) -> str:
        """Returns "" for a file, "/" for a folder, and otherwise why the entry is skipped."""
        if entry.name.startswith("."):
            return "hidden"
        if entry.is_symlink():
            return self._kind_of_link(entry.path, inside_link=inside_link)
        if entry.is_dir(follow_symlinks=False):
            return "/"
        return "" if entry.is_file(follow_symlinks=False) else "not_a_file"

    def _kind_of_link(self, path: str, *, inside_link: bool) -> str:
        if self._source.symlinks == "skip":
            return "symlink"
        try:
            target = os.path.realpath(path, strict=True)
            mode = os.stat(target).st_mode
        except OSError:
            return "broken_symlink"
        if not f"{target}/".startswith(f"{self._real_root.rstrip('/')}/"):
            return "escaping_symlink"
        if not stat.S_ISDIR(mode):
            return "" if stat.S_ISREG(mode) else "not_a_file"
        # A link upwards, or links within linked folders, would repeat the tree without end.
        upwards = f"{os.path.realpath(os.path.dirname(path))}/".startswith(f"{target.rstrip('/')}/")
        return "looping_symlink" if upwards or inside_link else "/"

    def _is_image(self, name: str) -> bool:
        if not name.lower().endswith(self._endings):
            self.skipped["extension"] += 1
        elif name.count("/") < self._depth:
            self.skipped["no_label"] += 1
        elif name_fault(name) is not None:
            self.skipped["unsafe_name"] += 1
        else:
            return True
        return False


def _nothing_found(source: FolderSource, root: str, skipped: Counter[str]) -> str:
    pattern = "<label>/…/<image>" if source.layout == "label" else "<split>/<label>/…/<image>"
    seen = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())) or "it is empty"
    return (
        f"{root} holds no image by the rules of `type: folder`, `layout: {source.layout}`: files {pattern} "
        f"ending in {', '.join(source.extensions)}. Skipped: {seen}"
    )
