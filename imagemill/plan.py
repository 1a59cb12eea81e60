"""The conversion plan: everything a job must know, decided once, before any image is read."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field

from imagemill.documents import parse_document
from imagemill.manifest import FORMAT_VERSION

if TYPE_CHECKING:
    from imagemill.spec import DatasetSpec

PLAN = "plan.json"
"""First object of a version folder; a folder without a manifest is not a version yet."""


class SplitPlan(BaseModel):
    """One split's size and shard count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0, description="image bytes, before framing")
    shards: int = Field(ge=1)


class ConversionSettings(BaseModel):
    """The settings that determine a version's bytes; all of them are in the fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formats: tuple[str, ...] = ("png", "jpeg")
    verification: str = Field("header", pattern="^(header|decode)$")
    max_image_bytes: int = Field(64 << 20, gt=0)
    max_image_pixels: int = Field(100_000_000, gt=0, description="a header that announces more is refused")
    compression: str = Field("", pattern="^(|gzip)$")
    split_fractions: dict[str, float] = Field(
        description="shares for rows without a split of their own, in this order; sums to 1, or empty: reject them"
    )
    split_names: tuple[str, ...] = Field(
        (), description="splits that a row may name; the keys of `split_fractions` are allowed besides"
    )

    @classmethod
    def from_spec(cls, spec: DatasetSpec) -> Self:
        """Returns the settings that a spec asks for."""
        conversion = spec.conversion
        return cls(
            formats=conversion.formats,
            verification=conversion.verification,
            max_image_bytes=conversion.max_image_bytes,
            max_image_pixels=conversion.max_image_pixels,
            compression=conversion.compression,
            split_fractions=dict(spec.splits.fractions),
            split_names=spec.splits.names,
        )

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Every split a row may be in; the position is the split's number inside a job."""
        return tuple(dict.fromkeys((*self.split_fractions, *self.split_names)))


class ConversionPlan(BaseModel):
    """What `plan_conversion` hands to the job, as `plan.json` in the version folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    dataset: str
    version: str = Field("", description="folder of the version; empty until `write_plan` names it")
    fingerprint: str = Field("", description="digest of what decides the version's bytes; empty until it is known")
    content_digest: str = Field(description="sum of all row digests modulo 2**128, hexadecimal; the job proves it")
    index: str = Field(description="URI of the index CSV")
    index_bytes: int = Field(ge=0)
    images: str = Field(description="URI of the images root")
    labels: tuple[str, ...] = Field(description="label names; the position is the id")
    labels_closed: bool = Field(True, description="a label outside `labels` is a reject")
    sample_below: int | None = Field(None, description="only rows whose key hash is below this are converted (limit)")
    rows: int = Field(ge=0, description="input rows, of the sample where there is one")
    splits: tuple[SplitPlan, ...] = Field(description="splits that get shards, sorted by name")
    settings: ConversionSettings

    @property
    def image_bytes(self) -> int:
        return sum(split.bytes for split in self.splits)

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"


def fingerprint_of(plan: ConversionPlan) -> str:
    """Returns the digest of everything in a plan that determines a version's bytes, hexadecimal."""
    facts = {
        "format": FORMAT_VERSION,
        "dataset": plan.dataset,
        "content": plan.content_digest,
        "labels": plan.labels,
        "shards": [(split.name, split.shards) for split in plan.splits],
        "sample_below": plan.sample_below,
        "settings": plan.settings.model_dump(mode="json"),
        "split_order": list(plan.settings.split_fractions),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def parse_plan(data: bytes, *, where: str) -> ConversionPlan:
    """Reads a plan; `where` is its URI, for messages. `parse_document` tells what is refused."""
    return parse_document(ConversionPlan, data, where=where, what="plan", newest={"format_version": FORMAT_VERSION})
