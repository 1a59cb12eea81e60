"""Keeps the last plan, so that rows and images that are known to be the same are not counted again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from pydantic import BaseModel, ConfigDict, ValidationError

from imagemill.conversion.planning import plan_conversion
from imagemill.manifest import FORMAT_VERSION, Manifest
from imagemill.plan import ConversionPlan, ConversionSettings
from imagemill.sources.tree import file_digest
from imagemill.spec import Shards
from imagemill.storage import is_local, parse
from imagemill.storage.stamps import folder_stamp
from imagemill.version.run_record import package_version


class PlanInputs(TypedDict):
    """What decides a plan, save for the rows and images themselves; `conversion.planning` explains each."""

    dataset: str
    index_uri: str
    images_uri: str
    labels_uri: str | None
    declared_labels: Sequence[str]
    settings: ConversionSettings
    shards: Shards
    published: Manifest | None
    limit: int | None


class _CarriedOn(BaseModel):
    """All that a plan takes from the published version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...] = ()
    shards: dict[str, int] = {}


class _CachedPlan(BaseModel):
    """A plan and what it was made of.

    Attributes:
        inputs: Digest of all that decides it but the published version.
        carried_on: What it took from that version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: str
    carried_on: _CarriedOn
    plan: ConversionPlan

    def holds_after(self, carried_on: _CarriedOn) -> bool:
        """Tells whether the plan comes out the same where this is carried on.

        It does where the plan's own version was published: labels stay, as do the shards of a split that is the same.
        """
        itself = _CarriedOn(labels=self.plan.labels, shards={split.name: split.shards for split in self.plan.splits})
        return carried_on in (self.carried_on, itself)


def cached_plan(file: Path | None, **inputs: Unpack[PlanInputs]) -> ConversionPlan:
    """Returns the plan of `conversion.planning`, without counting where nothing it depends on has changed.

    Args:
        file: Keeps the last plan; None keeps none.
        inputs: What to plan.

    Raises:
        ImagemillError: As `conversion.planning`.
    """
    digest = _digest(inputs) if file else None
    if digest is None or file is None:
        return plan_conversion(**inputs)
    carried_on = _carried_on_by(inputs["published"])
    if (known := _read(file)) and known.inputs == digest and known.holds_after(carried_on):
        return known.plan
    plan = plan_conversion(**inputs)
    if _digest(inputs) == digest:  # nothing changed while it was counted
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.part")
        cached = _CachedPlan(inputs=digest, carried_on=carried_on, plan=plan)
        partial.write_text(cached.model_dump_json() + "\n", encoding="utf-8")
        partial.replace(file)
    return plan


def _digest(inputs: PlanInputs) -> str | None:
    """Returns a digest of all that decides the plan, save for the published version.

    None where the images are not known without being read.
    """
    if not (is_local(inputs["images_uri"]) and is_local(inputs["index_uri"])):
        return None
    stamp = folder_stamp(parse(inputs["images_uri"]).path)
    if stamp is None:
        return None
    facts = {
        **{name: value for name, value in inputs.items() if name != "published"},
        "settings": inputs["settings"].model_dump(mode="json"),
        "shards": inputs["shards"].model_dump(mode="json"),
        "images": stamp,
        "index": file_digest(Path(parse(inputs["index_uri"]).path)),
        "labels": file_digest(Path(parse(inputs["labels_uri"]).path)) if inputs["labels_uri"] else None,
        "code": [package_version("imagemill"), FORMAT_VERSION],
    }
    # Not sorted: the order of the splits decides which rows each of them gets.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _carried_on_by(published: Manifest | None) -> _CarriedOn:
    if published is None:
        return _CarriedOn()
    return _CarriedOn(labels=tuple(published.labels), shards=Counter(shard.split for shard in published.shards))


def _read(file: Path) -> _CachedPlan | None:
    try:
        return _CachedPlan.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
