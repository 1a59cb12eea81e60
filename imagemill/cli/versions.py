"""`imagemill versions|path|publish|rollback|prune`: what there is, and what training sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imagemill.cli.output import json_option, show, size, table

if TYPE_CHECKING:
    from imagemill.catalog import Catalog, Publication, VersionInfo


@click.command()
@click.argument("name")
@json_option
def versions(name: str, *, as_json: bool) -> None:
    """List the dataset's versions, newest first: what is published, and why the others are not."""
    infos = _catalog(name).versions()
    show(
        {"versions": [info.model_dump(mode="json") for info in infos]},
        as_json=as_json,
        text=table(
            ["", "VERSION", "RECORDS", "REJECTED", "SIZE", "VERDICT", "WHY NOT"],
            [_version_row(info) for info in infos],
        ),
    )


def _version_row(info: VersionInfo) -> list[str]:
    return [
        "*" if info.current else "",
        info.version,
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
    """Print the URI of the published version, for scripts and training jobs."""
    from imagemill.errors import CallerError

    catalog = _catalog(name)
    current = catalog.current()
    if current is None:
        raise CallerError(f"{name}: nothing is published under {catalog.uri}; run `imagemill refresh {name}`")
    show({"version": current.version, "path": current.uri}, as_json=as_json, text=current.uri)


@click.command()
@click.argument("name")
@click.argument("version")
@json_option
def publish(name: str, version: str, *, as_json: bool) -> None:
    """Make VERSION the published one. It must have passed validation."""
    _show_publication(_catalog(name).publish(version), as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@json_option
def rollback(name: str, version: str | None, *, as_json: bool) -> None:
    """Make an older VERSION the published one; by default the newest intact one before it."""
    _show_publication(_catalog(name).rollback(version), as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--keep", type=click.IntRange(min=1), help="Versions to keep, instead of the spec's `retention.keep`.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
def prune(name: str, *, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove old versions; the published one always stays."""
    from imagemill.catalog import Catalog
    from imagemill.spec_file import find_spec

    spec = find_spec(name)
    pruning = Catalog(spec.locations.output).prune(keep=keep or spec.retention.keep, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb} {version}" for version in pruning.removed]
    lines.append(f"{verb} {len(pruning.removed)} versions, {size(pruning.bytes)}; {len(pruning.kept)} stay")
    show(pruning.model_dump(mode="json"), as_json=as_json, text="\n".join(lines))


def _catalog(name: str) -> Catalog:
    from imagemill.catalog import Catalog
    from imagemill.spec_file import find_spec

    return Catalog(find_spec(name).locations.output)


def _show_publication(publication: Publication, *, as_json: bool) -> None:
    before = f" (before: {publication.previous})" if publication.previous else ""
    state = "is published now" if publication.moved else "was published already"
    show(publication.model_dump(mode="json"), as_json=as_json, text=f"{publication.version} {state}{before}")
