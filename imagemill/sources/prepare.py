"""Make the prepared tree of any source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.sources.tree import PrepareSummary, open_tree
from imagemill.spec import CifarSource, FolderSource, IndexSource, ShapesSource, Source

if TYPE_CHECKING:
    from imagemill.progress import Progress

__all__ = ["PrepareSummary", "needs_prepare", "prepare"]


def prepare(source: Source, tree: Path, *, downloads: Path, progress: Progress) -> PrepareSummary:
    """Makes `tree` the prepared tree of a source: `images/…`, `index.csv`, and `labels.txt` where it fixes the ids.

    Same source, same bytes. Killed at any moment, it is finished by the next call; called again without a change, it
    looks and leaves. What else is in the tree goes away; a folder that no preparation made is refused untouched.
    The state is kept beside the tree, in `<tree>.state.json`.

    Args:
        source: Part of a spec.
        tree: The folder; it is made where it is missing.
        downloads: Folder of fetched and drawn archives.
        progress: Told of downloads and images.

    Raises:
        CallerError: The source is missing, damaged or hostile, or the folder is not ours.
        TemporaryFault: The source cannot be reached now, or another process prepares the same tree.
    """
    match source:
        case CifarSource():
            from imagemill.sources.cifar import prepare_cifar

            with open_tree(tree) as prepared:
                return prepare_cifar(source, prepared, downloads=downloads, progress=progress)
        case ShapesSource():
            from imagemill.sources.shapes import prepare_shapes

            with open_tree(tree) as prepared:
                return prepare_shapes(source, prepared, downloads=downloads, progress=progress)
        case FolderSource():
            from imagemill.sources.folder import images_root, prepare_folder

            root = images_root(source.root, tree, setting="source.root")
            with open_tree(tree) as prepared:
                return prepare_folder(source, prepared, root=root, progress=progress)
        case IndexSource():
            from imagemill.sources.csv_index import images_of, prepare_index

            images = images_of(source, tree)
            with open_tree(tree) as prepared:
                return prepare_index(source, prepared, images=images, progress=progress)


def needs_prepare(source: Source) -> bool:
    """Tells whether a source has to become a tree; an index and images in an object store serve as they are."""
    if not isinstance(source, IndexSource):
        return True
    from imagemill.storage.uri import is_local

    return is_local(source.index) or (source.images is not None and is_local(source.images))
