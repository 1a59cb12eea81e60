"""What training sees, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagemill.errors import UnusableData
from imagemill.spec import DatasetSpec
from imagemill.steps.results import Published, counts

if TYPE_CHECKING:
    from imagemill.catalog import Catalog, CurrentVersion
    from imagemill.catalog.pruning import Pruning


def published_version(catalog: Catalog, *, force: bool) -> tuple[CurrentVersion | None, str]:
    """Returns the published version, or None and why there is none.

    Args:
        catalog: The dataset's versions.
        force: Do without one that is broken, so that a new one can take its place.

    Raises:
        UnusableData: It is broken, and there is no force.
    """
    try:
        return catalog.current(), "there is no published version to compare with"
    except UnusableData as error:
        if force:
            return None, f"the published version cannot be read: {error}"
        raise


def publish(spec: DatasetSpec, version: str, *, user: str | None = None, note: str = "", run: str = "") -> Published:
    """Makes a validated version the one that training sees; repeating it changes nothing.

    Args:
        spec: The dataset.
        version: What to publish.
        user: Who does it, for the history; by default whoever runs this process.
        note: Why, in their words.
        run: The run that does it.
    """
    from imagemill.catalog import Catalog, read_manifest
    from imagemill.version.run_record import whoami

    publication = Catalog(spec.locations.output).publish(
        version, by=user or whoami(), reason=note or "refresh", run=run
    )
    manifest = read_manifest(publication.uri)
    return Published(
        dataset=spec.name,
        version=version,
        path=publication.uri,
        previous=publication.previous,
        fingerprint=manifest.fingerprint,
        **counts(manifest),
    )


def prune_versions(spec: DatasetSpec) -> Pruning:
    """Removes versions that retention no longer keeps."""
    from imagemill.catalog import Catalog
    from imagemill.catalog.pruning import RetentionPolicy

    return Catalog(spec.locations.output).prune(RetentionPolicy.from_spec(spec.retention))
