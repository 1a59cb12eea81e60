"""The checks, in the order a person reads them."""

from imagemill.quality.checks.accounts import ACCOUNTING, EMPTY_SPLIT, REJECTED_SHARE
from imagemill.quality.checks.check import Check, Outcome
from imagemill.quality.checks.drift import (
    CHANGED_IMAGES,
    IMAGE_DRIFT,
    LABEL_DRIFT,
    LABELS_KEPT,
    MOVED_SPLITS,
    NEW_LABELS,
    RELABELLED,
    ROW_DRIFT,
)
from imagemill.quality.checks.images import (
    FACTS_AGREE,
    IDENTICAL_IMAGES,
    IMAGE_FORMATS,
    IMAGE_ORIENTATION,
    IMAGE_SIZES,
    LABEL_CONFLICTS,
    ONE_COLOUR,
    SPLIT_LEAKS,
)
from imagemill.quality.checks.labels import LABEL_BALANCE, LABELS
from imagemill.quality.checks.objects import FOREIGN_OBJECTS, PLANNED, SHARD_CHECKSUMS, SHARDS_PRESENT
from imagemill.quality.checks.records import RECORD_COUNTS, RECORD_FRAMING, SHARD_INDEX
from imagemill.quality.checks.sample import SAMPLE_DECODES, SAMPLE_MATCHES_SOURCE, WHOLE_SHARDS_READ

__all__ = ["CHECKS", "Check", "Outcome"]

CHECKS: tuple[Check, ...] = (
    SHARDS_PRESENT,
    SHARD_CHECKSUMS,
    PLANNED,
    RECORD_FRAMING,
    RECORD_COUNTS,
    SHARD_INDEX,
    ACCOUNTING,
    REJECTED_SHARE,
    EMPTY_SPLIT,
    LABELS,
    LABEL_BALANCE,
    FACTS_AGREE,
    IMAGE_FORMATS,
    IMAGE_SIZES,
    IMAGE_ORIENTATION,
    IDENTICAL_IMAGES,
    LABEL_CONFLICTS,
    SPLIT_LEAKS,
    ONE_COLOUR,
    SAMPLE_DECODES,
    SAMPLE_MATCHES_SOURCE,
    WHOLE_SHARDS_READ,
    ROW_DRIFT,
    LABELS_KEPT,
    NEW_LABELS,
    LABEL_DRIFT,
    IMAGE_DRIFT,
    MOVED_SPLITS,
    RELABELLED,
    CHANGED_IMAGES,
    FOREIGN_OBJECTS,
)
