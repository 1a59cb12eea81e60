"""The spec's sections about validation: which checks count how much, and where their limits are."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from imagemill.spec.contradictions import Contradiction, refuse
from imagemill.spec.part import Fraction, SpecPart

CheckName = Literal[
    "shards_present",
    "shard_checksums",
    "plan",
    "record_framing",
    "record_counts",
    "shard_index",
    "accounting",
    "rejected_share",
    "empty_split",
    "labels",
    "label_balance",
    "facts",
    "image_formats",
    "image_sizes",
    "image_orientation",
    "identical_images",
    "label_conflicts",
    "split_leaks",
    "one_colour",
    "sample_decodes",
    "sample_matches_source",
    "whole_shards_read",
    "row_drift",
    "labels_kept",
    "new_labels",
    "label_drift",
    "image_drift",
    "moved_splits",
    "relabelled",
    "changed_images",
    "foreign_objects",
]
"""The checks, in the order of the report; `imagemill.quality.checks` has them."""

CheckLevel = Literal["error", "warning", "skip"]


class Drift(SpecPart):
    """How far a version may be from the published one."""

    max_shrink: Fraction = 0.1
    """Largest share of the records that may be gone, of all and of any split."""
    max_growth: float = Field(10.0, ge=0)
    """Most new records for each record there was, of all and of any split."""
    max_label_shift: Fraction = 0.2
    """Largest change of any label's share of the records (the L-infinity distance)."""
    max_label_divergence: Fraction = 0.1
    """Largest Jensen-Shannon divergence of the labels' distributions, in bits."""
    max_relabelled: Fraction = 0.02
    """Largest share of images, of those in both versions, that may have another label."""
    max_changed: Fraction = 0.5
    """Largest share of images, of those in both versions, that may have other bytes under the same name."""
    max_size_change: float = Field(0.5, ge=0)
    """Largest relative change of an image's mean bytes, height or width."""


class Validation(SpecPart):
    """What a version must satisfy to be published."""

    sample: int = Field(1_000, ge=1)
    """Records decoded by TensorFlow and compared with the staged images, spread over splits and labels."""
    max_rejected: Fraction = 0.0
    """Largest share of rejected rows, of all rows."""
    max_rejected_per_label: Fraction = 1.0
    """Largest share of rejected rows, of the rows of any one label."""
    min_records_per_label: int = Field(1, ge=0)
    """Fewest records any label may have, over all splits."""
    max_imbalance: float = Field(100.0, ge=1)
    """How many times as many records the largest label may have as the smallest."""
    min_side: int = Field(1, ge=1)
    """Fewest pixels an image may be high or wide."""
    max_side: int | None = Field(None, ge=1)
    """Most pixels an image may be high or wide."""
    max_identical: Fraction = 0.1
    """Largest share of records whose image another record has too. Any at all is a warning."""
    max_label_conflicts: Fraction = 0.01
    """Largest share of records whose image has another label elsewhere. Any at all is a warning."""
    max_split_leaks: Fraction = 0.01
    """Largest share of records whose image is in another split too. Any at all is a warning."""
    max_one_colour: Fraction = 0.1
    """Largest share of the sampled images that may be of one colour. Any at all is a warning."""
    full_scan_bytes: int = Field(4 << 30, ge=0)
    """Up to this size of version, the checksum of every record is verified; above it, of the sample."""
    drift: Drift = Drift()
    """What may differ from the published version."""
    checks: dict[CheckName, CheckLevel] = Field(default_factory=dict)
    """What a failure of a check means, by its name, where the usual is not wanted: `error` stops the publication,
    `warning` is told, and `skip` switches the check off, which the report shows."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_side is not None and self.max_side < self.min_side:
            problem = f"No image can have sides from {self.min_side} to {self.max_side} pixels."
            refuse([Contradiction(("validation", "max_side"), problem, "Make `max_side` the larger one.")])
        return self
