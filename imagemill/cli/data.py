"""`imagemill prepare|sync|verify|inspect`: one step each, on what is named."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagemill.cli.output import json_option, progress, show, size
from imagemill.errors import CallerError, ImagemillError

if TYPE_CHECKING:
    from imagemill.quality.report import CheckResult, Report, SampleFacts
    from imagemill.storage.difference import Action
    from imagemill.storage.sync import SyncSummary

_SHOWN = 1_000
"""Actions that a dry run's JSON holds."""


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the tree; by default the refresh's own.")
@json_option
def prepare(name: str, *, out: Path | None, as_json: bool) -> None:
    """Write the dataset's prepared tree: images/ and index.csv.

    The same source gives the same bytes.
    """
    from imagemill import steps
    from imagemill.spec.file import find_spec

    spec = find_spec(name)
    summary = steps.prepare_images(spec, tree=out, progress=progress(as_json=as_json))
    if summary is None:
        raise CallerError(f"{name}: its index and images are in a bucket already; there is nothing to prepare")
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.skipped.items()))
    show(
        summary.model_dump(mode="json"),
        as_json=as_json,
        text=f"{out or steps.tree_folder(spec)}: {summary.rows:,} rows" + (f" (skipped: {skipped})" if skipped else ""),
    )


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--delete", is_flag=True, help="Remove from DST what SRC does not have.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these names alone, on both sides.")
@click.option("--cache-control", metavar="VALUE", help="Cache-Control of the objects written; by default no-cache.")
@json_option
def sync(
    source: str,
    destination: str,
    *,
    delete: bool,
    dry_run: bool,
    exclude: tuple[str, ...],
    cache_control: str | None,
    as_json: bool,
) -> None:
    """Make DST hold what SRC holds.

    What differs in size or checksum is copied, in parallel. Interrupted, it goes on where it was by being run again.
    """
    from imagemill.storage import open_store
    from imagemill.storage import sync as syncing
    from imagemill.storage.settings import ObjectStoreSettings

    settings = ObjectStoreSettings.from_environment()
    if cache_control is not None:
        settings = replace(settings, storage_cache_control=cache_control)
    started = time.monotonic()
    planned = _Planned()
    tell = planned.add if as_json else click.echo
    summary = syncing.sync(
        open_store(source),
        open_store(destination, settings=settings),
        delete=delete,
        dry_run=dry_run,
        exclude=exclude,
        progress=progress(as_json=as_json),
        tell=tell if dry_run else None,
    )
    seconds = time.monotonic() - started
    rate = "" if dry_run or not summary.copied else _rate(summary, seconds)
    show(
        summary.model_dump(mode="json") | {"seconds": round(seconds, 3)} | (planned.as_dict() if dry_run else {}),
        as_json=as_json,
        text=f"{'would copy' if dry_run else 'copied'} {summary.copied:,} ({size(summary.copied_bytes)}), "
        f"deleted {summary.deleted:,}, unchanged {summary.unchanged:,}{rate}",
    )


class _Planned:
    """The first actions of a dry run: a plan may be as long as the dataset."""

    def __init__(self) -> None:
        self._count, self._first = 0, list[dict[str, Any]]()

    def add(self, action: Action) -> None:
        self._count += 1
        if len(self._first) < _SHOWN:
            said = {name: value for name, value in asdict(action).items() if name != "crc32c"}
            said["key"] = action.key.encode(errors="backslashreplace").decode()
            self._first.append({"action": type(action).__name__.lower()} | said)

    def as_dict(self) -> dict[str, Any]:
        return {"dry_run": True, "actions": self._first, "actions_left_out": self._count - len(self._first)}


def _rate(summary: SyncSummary, seconds: float) -> str:
    objects, volume = summary.copied / seconds, size(round(summary.copied_bytes / seconds))
    return f"; {seconds:.1f} s, {objects:,.0f} objects/s, {volume}/s"


@click.command()
@click.argument("version_uri", metavar="VERSION_URI")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Records to decode and compare.")
@click.option("--against", metavar="IMAGES_URI", help="Staged images to compare the sample with, byte for byte.")
@click.option("--full", is_flag=True, help="Verify every record's checksum, however large the version is.")
@json_option
def verify(version_uri: str, *, sample: int | None, against: str | None, full: bool, as_json: bool) -> None:
    """Check a version, wherever it is, without its spec.

    The gate's checks with the limits that a spec has by default, and any share of rejects. Nothing is written or
    published; `validate` does that by the spec. Exits with 1 if a check fails.
    """
    from imagemill.quality.validate import validate_version
    from imagemill.spec.validation import Validation

    _require_version(version_uri)
    settings = {"max_rejected": 1.0, **({"sample": sample} if sample else {})}
    report = validate_version(
        version_uri,
        settings=Validation.model_validate(settings | ({"full_scan_bytes": 1 << 62} if full else {})),
        images_uri=against,
        progress=progress(as_json=as_json),
    )
    show(report.model_dump(mode="json"), as_json=as_json, text=_describe(report))
    if not report.passed:
        raise click.exceptions.Exit(1)


def _require_version(uri: str) -> None:
    """Refuses a dataset's folder; where its pointer is at fault, that is the finding."""
    from imagemill.catalog import current
    from imagemill.catalog.pointer import CURRENT
    from imagemill.errors import CallerError
    from imagemill.storage import open_store
    from imagemill.version.ids import VERSIONS

    store = open_store(uri)
    if store.stat(CURRENT) is not None:
        raise CallerError(f"{uri} holds a dataset, not one version of it; verify {current(uri)}, which is published")
    if next(store.list(VERSIONS), None) is not None:
        raise CallerError(f"{uri} holds a dataset, not one version of it; name a folder in its {VERSIONS}")


def _describe(report: Report) -> str:
    return "\n".join(
        [
            *(_describe_check(check) for check in report.checks),
            *([_describe_sample(report.sample)] if report.sample else []),
            f"{report.version}: {report.verdict} ({len(report.failures)} failed)",
        ]
    )


def _describe_sample(sample: SampleFacts) -> str:
    chance = f"{sample.confidence:.1%}" if sample.confidence < 1 else "100%"
    return f"sample: {sample.records:,} of {sample.population:,}; a defect in 0.5% is in it with a chance of {chance}"


def _describe_check(check: CheckResult) -> str:
    text = f"{check.verdict:<8} {check.name}: {check.observed}"
    if check.blocks or check.advice:
        text += f"\n         expected {check.expected}. {check.advice}"
    return "\n".join([text, *(f"         at {place}" for place in check.places)])


@click.command()
@click.argument("shard_uri", metavar="SHARD_URI")
@click.option("-n", "count", type=click.IntRange(min=1), default=5, show_default=True, help="Records to print.")
@click.option("--key", help="Only the record of this filename.")
@click.option("--save-images", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Save them too.")
@json_option
def inspect(shard_uri: str, *, count: int, key: str | None, save_images: Path | None, as_json: bool) -> None:
    """Print the records of one TFRecord shard.

    Where one is damaged, those before it are printed first.
    """
    from imagemill.records.inspect import inspect_shard, save_image

    records, texts, saved = list[dict[str, Any]](), list[str](), list[str]()
    try:
        for record in inspect_shard(shard_uri, count=count, key=key):
            records.append(record.as_dict())
            texts.append(str(record))
            if save_images is not None:
                saved.append(str(save_image(record, save_images)))
    except ImagemillError:
        if records:
            _show_records(records, texts, saved, as_json=as_json)
        raise
    _show_records(records, texts, saved, as_json=as_json)


def _show_records(records: list[dict[str, Any]], texts: list[str], saved: list[str], *, as_json: bool) -> None:
    show(
        {"records": records, "saved": saved},
        as_json=as_json,
        text="\n".join([*texts, *(f"saved {path}" for path in saved)]),
    )
