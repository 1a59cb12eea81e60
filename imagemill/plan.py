"""The conversion plan: everything a job must know, decided once, before any image is read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from imagemill.manifest import FORMAT_VERSION

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


class ConversionPlan(BaseModel):
    """What `plan_conversion` hands to the job, as `plan.json` in the version folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    dataset: str
    version: str
    fingerprint: str
    content_digest: str = Field(description="sum of all row digests modulo 2**128, hexadecimal; the job proves it")
    index: str = Field(description="URI of the index CSV")
    images: str = Field(description="URI of the images root")
    labels: tuple[str, ...] = Field(description="label names; the position is the id")
    labels_closed: bool = Field(True, description="a label outside `labels` is a reject")
    sample_below: int | None = Field(None, description="only rows whose key hash is below this are converted (limit)")
    rows: int
    splits: tuple[SplitPlan, ...]
    settings: ConversionSettings
