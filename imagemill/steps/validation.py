"""Whether a version is good, and what others are told of it."""

from __future__ import annotations

from imagemill.progress import Progress, Silent
from imagemill.spec import DatasetSpec
from imagemill.steps.publication import published_version
from imagemill.steps.results import Validated, counts
from imagemill.steps.staging import inputs


def validate_records(
    spec: DatasetSpec, version: str, *, force: bool = False, progress: Progress | None = None
) -> Validated:
    """Proves a version good and writes its report, `validation.json` and `validation.html`.

    The published version's own report stays while nothing is wrong: it compares with what was published before.

    Args:
        spec: Its dataset.
        version: Its id.
        force: Where the published version is broken, compare with nothing.
        progress: Told of shards and sampled records.

    Raises:
        UnusableData: A check failed; the message has each one's finding and advice, and the report is written.
    """
    from imagemill.catalog import Catalog, read_manifest
    from imagemill.quality.gallery import Gallery
    from imagemill.quality.report import REPORT, REPORT_PAGE, raise_if_failed
    from imagemill.quality.validate import validate_version, write_report
    from imagemill.storage import open_store

    catalog, gallery = Catalog(spec.locations.output), Gallery()
    uri = catalog.version_uri(version)
    published, no_base = published_version(catalog, force=force)
    report = validate_version(
        uri,
        settings=spec.validation,
        images_uri=inputs(spec).images,
        published_uri=published.uri if published else None,
        no_base=no_base,
        gallery=gallery,
        progress=progress or Silent(),
    )
    if not (report.passed and published and published.uri == uri and open_store(uri).stat(REPORT)):
        write_report(report, gallery)
        write_descriptions(spec, uri, version)
    raise_if_failed(report)
    return Validated(
        version=version,
        bytes=report.total_bytes,
        sampled=report.sample.records if report.sample else 0,
        report_uri=f"{uri}/{REPORT_PAGE}",
        **counts(read_manifest(uri)),
    )


def write_descriptions(spec: DatasetSpec, version_uri: str, version: str) -> None:
    """Writes what tells others of a version: `croissant.json` and the dataset card."""
    from imagemill.catalog import read_manifest
    from imagemill.manifest import MANIFEST
    from imagemill.quality.comparison import read_facts
    from imagemill.storage import open_store
    from imagemill.version.croissant import CROISSANT, croissant
    from imagemill.version.dataset_card import CARD, dataset_card

    store, manifest = open_store(version_uri), read_manifest(version_uri)
    described = croissant(spec, version=version, manifest=manifest, manifest_bytes=store.read(MANIFEST))
    store.write(CROISSANT, described)
    store.write(CARD, dataset_card(spec, version=version, manifest=manifest, facts=read_facts(store)))
