"""What to convert, and into which version."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagemill.manifest import MANIFEST
from imagemill.plan import ConversionPlan, ConversionSettings
from imagemill.spec import DatasetSpec
from imagemill.steps.publication import published_version
from imagemill.steps.results import Inputs, Planned
from imagemill.steps.staging import inputs
from imagemill.storage import open_store
from imagemill.version.ids import new_version_id

if TYPE_CHECKING:
    from imagemill.catalog import Catalog


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
        force: Convert even when nothing changed, or when the published version is broken.
        limit: Convert only this many rows, as a rehearsal that is never published.
        shards: Shard counts by split, instead of the spec's.
        runner: Where it will be converted, for the record; by default the spec's.
        source: What to read, instead of the spec's staging.
        user: Who asks for it, for `run.json`; by default whoever runs this process.
        note: What they say about it, likewise.
    """
    from imagemill.catalog import Catalog, read_manifest
    from imagemill.conversion.planning import write_plan
    from imagemill.steps.plan_cache import cached_plan

    catalog = Catalog(spec.locations.output)
    current, _ = published_version(catalog, force=force)
    published = read_manifest(current.uri) if current else None
    read = source or inputs(spec)
    plan = cached_plan(
        # Only of staging is it certain that no link leads out of it.
        None if source else Path(spec.locations.work) / spec.name / "planned.json",
        dataset=spec.name,
        index_uri=read.index,
        images_uri=read.images,
        labels_uri=read.labels,
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
    _record(spec, uri, reason=None if converted else reason, now=now, runner=runner, user=user, note=note)
    return _planned(plan, "convert", reason, version=version, version_uri=uri, converted=converted)


def _record(
    spec: DatasetSpec, uri: str, *, reason: str | None, now: datetime, runner: str | None, user: str | None, note: str
) -> None:
    """Writes down who asks for a version, and why it is converted; without a reason it is converted already."""
    from imagemill.version.run_record import record_asker, record_run, whoami

    asker = user or whoami()
    if reason is None:
        record_asker(uri, requested_at=now, requested_by=asker, note=note)
        return
    record_run(
        uri,
        requested_at=now,
        requested_by=asker,
        reason=reason,
        note=note,
        runner=runner or spec.conversion.runner,
        source={key: str(value) for key, value in spec.source.model_dump(exclude_none=True).items()},
        # Not whom to alert: a version's folder may be open to more people than the spec is.
        spec=spec.model_dump(mode="json", exclude_defaults=True, exclude={"source", "alerts", "description", "about"}),
    )


def _choose_version(catalog: Catalog, fingerprint: str, *, force: bool, now: datetime) -> tuple[str, bool, str]:
    """Returns the version to convert into, whether it is whole already, and why it is this one."""
    candidate = catalog.find(fingerprint)
    if candidate and not candidate.complete:
        return candidate.version, False, f"{candidate.version} was not finished; it is resumed"
    if candidate and not force:
        return candidate.version, True, f"{candidate.version} is converted already; it only needs the gate"
    version = new_version_id(fingerprint, now)
    if candidate and open_store(catalog.version_uri(version)).stat(MANIFEST) is not None:
        return version, True, f"{version} is what this run has converted already"
    return version, False, "forced" if force else "input or settings are new"


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
