"""The steps of a refresh as plain functions. The CLI and Airflow's tasks call these, and nothing beneath them.

Each returns a small value that survives JSON; each can be repeated without harm.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from imagemill.plan import ConversionPlan, ConversionSettings
from imagemill.progress import Progress, Silent
from imagemill.spec import DatasetSpec, IndexSource
from imagemill.version.folder import new_version_id

if TYPE_CHECKING:
    from imagemill.catalog import Catalog
    from imagemill.catalog.pruning import Pruning
    from imagemill.manifest import Manifest
    from imagemill.sources.prepare import PrepareSummary
    from imagemill.storage.sync import SyncSummary

INDEX = "index.csv"
IMAGES = "images"
LABELS = "labels.txt"


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Inputs(_Result):
    """What a conversion reads."""

    index: str
    """URI of the index CSV."""
    images: str
    """URI of the images root."""
    labels: str | None = None
    """URI of `labels.txt`, where the source may have fixed the ids."""


class Planned(_Result):
    """What a refresh is about to do."""

    action: Literal["convert", "unchanged"]
    reason: str
    dataset: str
    version: str
    version_uri: str
    fingerprint: str
    rows: int
    shards: dict[str, int]
    limited: bool
    converted: bool
    """The version is whole already: a resumed candidate that need not be converted again."""


class Validated(_Result):
    """What the gate let through; what it holds back is an error."""

    version: str
    rows: int
    records: int
    rejected: int
    duplicates: int
    shards: int
    bytes: int
    sampled: int
    report_uri: str


class Published(_Result):
    """What training sees from now on."""

    dataset: str
    version: str
    path: str
    previous: str | None
    """Version that was published before."""
    rows: int
    records: int
    rejected: int
    duplicates: int
    shards: int
    fingerprint: str


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
    from imagemill.storage import join, open_store
    from imagemill.storage.sync import sync

    if prepare_images(spec) is None:
        return None
    tree, staging = tree_folder(spec), spec.locations.staging
    summary = sync(
        open_store(str(tree / IMAGES)), open_store(join(staging, IMAGES)), delete=True, progress=progress or Silent()
    )
    # After the images: an index never names an image that is not there yet.
    names = open_store(str(tree)), open_store(staging)
    return summary + sync(*names, only=(INDEX, LABELS), delete=True)


def plan_conversion(
    spec: DatasetSpec,
    *,
    now: datetime,
    force: bool = False,
    limit: int | None = None,
    shards: dict[str, int] | None = None,
    runner: str | None = None,
    source: Inputs | None = None,
    user: str | None = None,
    note: str = "",
) -> Planned:
    """Decides what to convert into which version, and writes its `plan.json`.

    Args:
        spec: The dataset.
        now: Aware time that names a new version; the same for every try of one run.
        force: Convert even when nothing changed.
        limit: Convert only this many rows, as a rehearsal that is never published.
        shards: Shard counts by split, instead of the spec's.
        runner: Where it will be converted, for the record; by default the spec's.
        source: What to read, instead of the spec's staging.
        user: Who asks for it, for `run.json`; by default whoever runs this process.
        note: What they say about it, likewise.
    """
    from imagemill.catalog import Catalog
    from imagemill.conversion.planning import plan_conversion as plan_rows
    from imagemill.conversion.planning import write_plan
    from imagemill.version.run_record import record_run, whoami

    catalog = Catalog(spec.locations.output)
    current = catalog.current()
    published = _manifest(current.uri) if current else None
    source = source or inputs(spec)
    plan = plan_rows(
        dataset=spec.name,
        index_uri=source.index,
        images_uri=source.images,
        labels_uri=source.labels,
        declared_labels=spec.labels.names,
        settings=ConversionSettings.from_spec(spec),
        shards=spec.conversion.shards.model_copy(update={"count": shards} if shards else {}),
        published=published,
        limit=limit or None,
    )
    if current and published and published.fingerprint == plan.fingerprint and not force:
        reason = f"nothing changed since {current.version}, which stays published"
        return _planned(plan, "unchanged", reason, version=current.version, version_uri=current.uri, converted=True)
    version, converted, reason = _choose_version(catalog, plan.fingerprint, force=force, now=now)
    uri = catalog.version_uri(version)
    if not converted:
        write_plan(plan, version=version, version_uri=uri)
        record_run(
            uri,
            requested_at=now,
            requested_by=user or whoami(),
            reason=reason,
            note=note,
            runner=runner or spec.conversion.runner,
            source={key: str(value) for key, value in spec.source.model_dump(exclude_none=True).items()},
        )
    return _planned(plan, "convert", reason, version=version, version_uri=uri, converted=converted)


def _choose_version(catalog: Catalog, fingerprint: str, *, force: bool, now: datetime) -> tuple[str, bool, str]:
    """Returns the version to convert into, whether it is whole already, and why it is this one."""
    candidate = catalog.find(fingerprint)
    if candidate and not candidate.complete:
        return candidate.version, False, f"{candidate.version} was not finished; it is resumed"
    if candidate and not force:
        return candidate.version, True, f"{candidate.version} is converted already; it only needs the gate"
    return new_version_id(fingerprint, now), False, "forced" if force else "input or settings are new"


def _planned(
    plan: ConversionPlan,
    action: Literal["convert", "unchanged"],
    reason: str,
    *,
    version: str,
    version_uri: str,
    converted: bool,
) -> Planned:
    return Planned(
        action=action,
        reason=reason,
        dataset=plan.dataset,
        version=version,
        version_uri=version_uri,
        fingerprint=plan.fingerprint,
        rows=plan.rows,
        shards={split.name: split.shards for split in plan.splits},
        limited=plan.sample_below is not None,
        converted=converted,
    )


def validate_records(spec: DatasetSpec, version: str, *, progress: Progress | None = None) -> Validated:
    """Proves a version good and writes its report, `validation.json` and `validation.html`.

    Raises:
        UnusableData: A check failed; the message has each one's finding and advice, and the report is written.
    """
    from imagemill.catalog import Catalog
    from imagemill.quality.gallery import Gallery
    from imagemill.quality.report import REPORT_PAGE, raise_if_failed
    from imagemill.quality.validate import validate_version, write_report

    catalog, gallery = Catalog(spec.locations.output), Gallery()
    uri, published = catalog.version_uri(version), catalog.current()
    report = validate_version(
        uri,
        settings=spec.validation,
        images_uri=inputs(spec).images,
        published_uri=published.uri if published else None,
        gallery=gallery,
        progress=progress or Silent(),
    )
    write_report(report, gallery)
    write_descriptions(spec, uri, version)
    raise_if_failed(report)
    return Validated(
        version=version,
        bytes=report.total_bytes,
        sampled=report.sample.records if report.sample else 0,
        report_uri=f"{uri}/{REPORT_PAGE}",
        **_counts(_manifest(uri)),
    )


def write_descriptions(spec: DatasetSpec, version_uri: str, version: str) -> None:
    """Writes what tells others of a version: `croissant.json` and the dataset card."""
    from imagemill.manifest import MANIFEST
    from imagemill.quality.comparison import read_facts
    from imagemill.storage import open_store
    from imagemill.version.croissant import CROISSANT, croissant
    from imagemill.version.dataset_card import CARD, dataset_card

    store, manifest = open_store(version_uri), _manifest(version_uri)
    described = croissant(spec, version=version, manifest=manifest, manifest_bytes=store.read(MANIFEST))
    store.write(CROISSANT, described)
    store.write(CARD, dataset_card(spec, version=version, manifest=manifest, facts=read_facts(store)))


def publish(spec: DatasetSpec, version: str, *, user: str | None = None, note: str = "", run: str = "") -> Published:
    """Makes a validated version the one that training sees; repeating it changes nothing.

    Args:
        spec: The dataset.
        version: What to publish.
        user: Who does it, for the history; by default whoever runs this process.
        note: Why, in their words.
        run: The run that does it.
    """
    from imagemill.catalog import Catalog
    from imagemill.version.run_record import whoami

    publication = Catalog(spec.locations.output).publish(
        version, by=user or whoami(), reason=note or "refresh", run=run
    )
    manifest = _manifest(publication.uri)
    return Published(
        dataset=spec.name,
        version=version,
        path=publication.uri,
        previous=publication.previous,
        fingerprint=manifest.fingerprint,
        **_counts(manifest),
    )


def prune_versions(spec: DatasetSpec) -> Pruning:
    """Removes versions that retention no longer keeps."""
    from imagemill.catalog import Catalog
    from imagemill.catalog.pruning import RetentionPolicy

    return Catalog(spec.locations.output).prune(RetentionPolicy.from_spec(spec.retention))


def _counts(manifest: Manifest) -> dict[str, int]:
    return {
        "rows": manifest.rows,
        "records": manifest.records,
        "rejected": manifest.rejected,
        "duplicates": manifest.duplicates,
        "shards": len(manifest.shards),
    }


def _manifest(version_uri: str) -> Manifest:
    from imagemill.catalog import read_manifest

    return read_manifest(version_uri)
