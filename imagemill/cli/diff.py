"""`imagemill diff`: what changed between two versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from imagemill.cli.output import json_option, show

if TYPE_CHECKING:
    from imagemill.diff.model import VersionDiff


@click.command()
@click.argument("before", metavar="VERSION_A")
@click.argument("after", metavar="VERSION_B")
@json_option
def diff(before: str, after: str, *, as_json: bool) -> None:
    """Tell what changed from VERSION_A to VERSION_B.

    Both are URIs of version folders. Told are images added, removed, renamed, changed, relabelled; an image whose name
    is gone and whose bytes are under a new one is renamed.

    Only the shard indexes are read, no image.
    """
    from imagemill.diff.compare import diff_versions

    found = diff_versions(before, after)
    show(found.model_dump(mode="json"), as_json=as_json, text="\n".join(_describe(found)))


def _describe(found: VersionDiff) -> Iterator[str]:
    total = found.total
    yield f"{found.base} → {found.version}: {total.before:,} records before, {total.after:,} after"
    if found.empty:
        yield "no difference in keys, labels, splits or image bytes"
        return
    yield (
        f"{total.added:,} added, {total.removed:,} removed, {total.renamed:,} renamed, "
        f"{total.changed:,} with other bytes, {total.relabelled:,} relabelled, {total.moved:,} in another split, "
        f"{found.unchanged:,} unchanged"
    )
    for stratum in found.strata:
        kinds = ("added", "removed", "renamed", "changed", "relabelled", "moved")
        parts = [f"{getattr(stratum, kind):,} {kind}" for kind in kinds if getattr(stratum, kind)]
        if parts:
            yield f"  {stratum.split}/{stratum.label}: {stratum.before:,} → {stratum.after:,}; {', '.join(parts)}"
    for pair in (*found.relabelled, *found.moved):
        yield f"  {pair.records:,} went from {pair.before} to {pair.after}"
    for change, examples in found.examples.items():
        yield f"{change}, such as:"
        yield from (f"  {example}" for example in examples)
