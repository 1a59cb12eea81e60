"""What changed between two versions, as data: for people, for machines, for the checks against the published one."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

DIFF = "diff.json"
"""Written into a version by validation, against the version that was published then; the manifest does not name it."""

DIFF_SCHEMA_VERSION = 1

EXAMPLES_KEPT = 10
"""Records that are told for each kind of change; the counts cover all."""

PAIRS_KEPT = 100
"""Pairs of labels that are told, those with the most relabelled records."""


class Change(StrEnum):
    """What may have happened to a record. One that is in both versions can have several changes at once."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    CHANGED = "changed"
    RELABELLED = "relabelled"
    MOVED = "moved"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Counts(_Frozen):
    """Records by what happened to them."""

    before: int = Field(0, ge=0)
    after: int = Field(0, ge=0)
    added: int = Field(0, ge=0, description="a new key, and not a renamed record")
    removed: int = Field(0, ge=0, description="a key that is gone, and not a renamed record")
    renamed: int = Field(
        0,
        ge=0,
        description="the image bytes of another key: either that one is gone and this one is new, "
        "or both are in both versions and hold other bytes",
    )
    changed: int = Field(0, ge=0, description="other image bytes under the same key, and not a renamed record")
    relabelled: int = Field(0, ge=0, description="another label name; where renamed, another than under the old key")
    moved: int = Field(0, ge=0, description="another split under the same key")


class Stratum(Counts):
    """Counts of one split and label; what is neither gone nor new counts where it is now."""

    split: str
    label: str


class Pair(_Frozen):
    """Records that went from one label or split to another."""

    before: str
    after: str
    records: int


class Example(_Frozen):
    """One changed record; what it was or is not is empty."""

    key: str
    key_before: str = Field("", description="where it was renamed")
    split_before: str = ""
    label_before: str = ""
    split: str = ""
    label: str = ""

    def __str__(self) -> str:
        was = f"{self.split_before}, {self.label_before}" if self.split_before else ""
        now = f"{self.split}, {self.label}" if self.split else ""
        named = f"{self.key_before} → {self.key}" if self.key_before else self.key
        return f"{named} ({' → '.join(dict.fromkeys(part for part in (was, now) if part))})"


class VersionDiff(_Frozen):
    """What changed from `base` to `version`."""

    schema_version: int = DIFF_SCHEMA_VERSION
    dataset: str
    base: str
    version: str
    base_manifest_sha256: str
    manifest_sha256: str
    total: Counts
    common: int = Field(ge=0, description="records in both versions, be it renamed")
    unchanged: int = Field(ge=0, description="of those, records with the same key, bytes, label and split")
    strata: tuple[Stratum, ...] = Field(
        description="by split, then label; those without a record in either are left out"
    )
    relabelled: tuple[Pair, ...] = ()
    moved: tuple[Pair, ...] = ()
    examples: dict[Change, tuple[Example, ...]] = Field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether both hold the same records."""
        return self.unchanged == self.total.before == self.total.after

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"
