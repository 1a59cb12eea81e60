"""What the steps return: identifiers and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from imagemill.manifest import Manifest


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


def counts(manifest: Manifest) -> dict[str, int]:
    """Returns what a version's manifest counts, under the names that results have for it."""
    return {
        "rows": manifest.rows,
        "records": manifest.records,
        "rejected": manifest.rejected,
        "duplicates": manifest.duplicates,
        "shards": len(manifest.shards),
    }
