"""`imagemill versions|history|path|validate|publish|rollback|prune`: what there is, and what training sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagemill.cli.output import json_option, progress, show, size, table

if TYPE_CHECKING:
    from imagemill.catalog import Catalog, Publication, VersionInfo
    from imagemill.catalog.history import HistoryEntry


@click.command()
@click.argument("name")
@json_option
def versions(name: str, *, as_json: bool) -> None:
    """List the dataset's versions, newest first.

    `*` marks the published one; WHY NOT is what keeps another one from being published.
    """
    infos = _catalog(name).versions()
    show(
        {"versions": [info.model_dump(mode="json") for info in infos]},
        as_json=as_json,
        text=table(
            ["", "VERSION", "WHEN", "FINGERPRINT", "ROWS", "RECORDS", "REJECTED", "SIZE", "VERDICT", "WHY NOT"],
            [_version_row(info) for info in infos],
        ),
    )


def _version_row(info: VersionInfo) -> list[str]:
    return [
        "*" if info.current else "",
        info.version,
        f"{info.created_at:%Y-%m-%d %H:%M}",
        info.fingerprint[:12] or "-",
        "-" if info.rows is None else f"{info.rows:,}",
        "-" if info.records is None else f"{info.records:,}",
        "-" if info.rejected is None else f"{info.rejected:,}",
        size(info.bytes),
        info.verdict or "-",
        "" if info.current else info.obstacle,
    ]


@click.command()
@click.argument("name")
@json_option
def path(name: str, *, as_json: bool) -> None:
    """Print the URI of the published version.

    For scripts and training jobs.
    """
    from imagemill.errors import CallerError

    catalog = _catalog(name)
    current = catalog.current()
    if current is None:
        raise CallerError(f"{name}: nothing is published under {catalog.uri}; run `imagemill refresh {name}`")
    show({"version": current.version, "path": current.uri}, as_json=as_json, text=current.uri)


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--force", is_flag=True, help="Compare with nothing if the published version cannot be read.")
@json_option
def validate(name: str, version: str, *, force: bool, as_json: bool) -> None:
    """Have the gate judge VERSION, by the spec.

    Writes its report, which `publish` reads. Exits with 1 if a check fails.
    """
    from imagemill import steps
    from imagemill.spec.file import find_spec

    validated = steps.validate_records(find_spec(name), version, force=force, progress=progress(as_json=as_json))
    told = f"{version} passed: {validated.records:,} records, {validated.sampled:,} of them read back"
    show(validated.model_dump(mode="json"), as_json=as_json, text=f"{told}; {validated.report_uri}")


_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--force", is_flag=True, help="Publish in spite of failed checks; takes a --reason.")
@_reason
@json_option
def publish(name: str, version: str, *, force: bool, reason: str, as_json: bool) -> None:
    """Make VERSION the published one. It must have passed validation."""
    from imagemill.version.run_record import whoami

    _show_publication(_catalog(name).publish(version, by=whoami(), reason=reason, force=force), as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@_reason
@json_option
def rollback(name: str, version: str | None, *, reason: str, as_json: bool) -> None:
    """Make an older VERSION the published one.

    By default the one that was published before the current one.

    Its objects are held against its manifest first.
    """
    from imagemill.version.run_record import whoami

    _show_publication(_catalog(name).rollback(version, by=whoami(), reason=reason), as_json=as_json)


@click.command()
@click.argument("name")
@json_option
def history(name: str, *, as_json: bool) -> None:
    """Tell what was published when, by whom and why, newest first."""
    entries = _catalog(name).history()
    show(
        {"history": [entry.model_dump(mode="json") for entry in entries]},
        as_json=as_json,
        text=table(
            ["WHEN", "WHAT", "VERSION", "BY", "WHY"],
            [
                [f"{entry.at:%Y-%m-%d %H:%M}", entry.action, entry.version, entry.by or "-", _why(entry)]
                for entry in entries
            ],
        ),
    )


def _why(entry: HistoryEntry) -> str:
    details = [entry.run, f"in spite of {', '.join(entry.overridden)}" if entry.overridden else ""]
    return " ".join([entry.reason, *(f"({detail})" for detail in details if detail)])


@click.command()
@click.argument("name")
@click.option("--keep", type=click.IntRange(min=1), help="Published versions to keep, instead of the spec's.")
@click.option("--min-age-days", type=click.FloatRange(min=0), help="Age below which nothing goes, likewise.")
@click.option("--grace-hours", type=click.FloatRange(min=0), help="Time between mark and removal, likewise.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
def prune(name: str, *, dry_run: bool, as_json: bool, **policy: float | None) -> None:
    """Remove old versions, in two steps.

    Marks old versions, and removes those marked long enough ago; the published one always stays.
    """
    from imagemill.catalog import Catalog
    from imagemill.catalog.pruning import RetentionPolicy
    from imagemill.spec.file import find_spec

    spec = find_spec(name)
    given = {option: value for option, value in policy.items() if value is not None}
    retention = spec.retention.model_copy(update=given)
    pruning = Catalog(spec.locations.output).prune(RetentionPolicy.from_spec(retention), dry_run=dry_run)
    would = "would be " if dry_run else ""
    lines = [f"{version} {would}removed" for version in pruning.removed]
    lines += [f"{version} {would}marked, to go in {retention.grace_hours:g} hours" for version in pruning.retired]
    lines.append(f"{would}removed: {len(pruning.removed)} ({size(pruning.bytes)}); there: {len(pruning.kept)}")
    show(pruning.model_dump(mode="json"), as_json=as_json, text="\n".join(lines))


def _catalog(name: str) -> Catalog:
    from imagemill.catalog import Catalog
    from imagemill.spec.file import find_spec

    return Catalog(find_spec(name).locations.output)


def _show_publication(publication: Publication, *, as_json: bool) -> None:
    before = f" (before: {publication.previous})" if publication.previous else ""
    state = "is published now" if publication.moved else "was published already"
    show(publication.model_dump(mode="json"), as_json=as_json, text=f"{publication.version} {state}{before}")
