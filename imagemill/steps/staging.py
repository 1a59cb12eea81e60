"""From the source to staging."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.progress import Progress, Silent
from imagemill.spec import DatasetSpec, IndexSource
from imagemill.steps.results import Inputs

if TYPE_CHECKING:
    from imagemill.sources.prepare import PrepareSummary
    from imagemill.storage.sync import SyncSummary

INDEX = "index.csv"
IMAGES = "images"
LABELS = "labels.txt"


def tree_folder(spec: DatasetSpec) -> Path:
    """Returns the folder of the dataset's prepared tree."""
    return Path(spec.locations.work) / spec.name / "tree"


def inputs(spec: DatasetSpec) -> Inputs:
    """Returns what the conversion of this dataset reads: staging, or a source that is in a bucket already."""
    from imagemill.sources.prepare import needs_prepare
    from imagemill.storage import join

    if isinstance(spec.source, IndexSource) and not needs_prepare(spec.source):
        return Inputs(index=spec.source.index, images=spec.source.images or _parent(spec.source.index))
    staging = spec.locations.staging
    return Inputs(index=join(staging, INDEX), images=join(staging, IMAGES), labels=join(staging, LABELS))


def _parent(uri: str) -> str:
    return uri.rsplit("/", 1)[0]


def prepare_images(
    spec: DatasetSpec, *, tree: Path | None = None, progress: Progress | None = None
) -> PrepareSummary | None:
    """Writes the prepared tree; None where the source needs none, being in a bucket already."""
    from imagemill.sources.prepare import needs_prepare, prepare

    if not needs_prepare(spec.source):
        return None
    return prepare(
        spec.source,
        tree or tree_folder(spec),
        downloads=Path(spec.locations.work) / "downloads",
        progress=progress or Silent(),
    )


def upload_images(spec: DatasetSpec, *, progress: Progress | None = None) -> SyncSummary | None:
    """Makes staging mirror the prepared tree; prepares first on a worker that has no tree.

    Nothing outside `<staging>/images/` is ever deleted.
    """
    from imagemill.steps.mirror import mirror
    from imagemill.storage import join, open_store
    from imagemill.storage.sync import sync

    if prepare_images(spec) is None:
        return None
    tree, staging = tree_folder(spec), spec.locations.staging
    summary = mirror(
        str(tree / IMAGES),
        join(staging, IMAGES),
        receipt=tree.with_name(f"{tree.name}.mirrored.json"),
        progress=progress or Silent(),
    )
    # After the images: an index never names an image that is not there yet.
    names = open_store(str(tree)), open_store(staging)
    return summary + sync(*names, only=(INDEX, LABELS), delete=True)
