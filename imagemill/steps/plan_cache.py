"""Keeps the last plan, so that rows and images that are known to be the same are not counted again."""

from __future__ import annotations

import hashlib
import json
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


class _CachedPlan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: str
    plan: ConversionPlan


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
    if known := _read(file, digest):
        return known
    plan = plan_conversion(**inputs)
    if _digest(inputs) == digest:  # nothing changed while it was counted
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.part")
        partial.write_text(_CachedPlan(inputs=digest, plan=plan).model_dump_json() + "\n", encoding="utf-8")
        partial.replace(file)
    return plan


def _digest(inputs: PlanInputs) -> str | None:
    """Returns a digest of all that decides the plan, None where the images are not known without being read."""
    if not (is_local(inputs["images_uri"]) and is_local(inputs["index_uri"])):
        return None
    stamp = folder_stamp(parse(inputs["images_uri"]).path)
    if stamp is None:
        return None
    published = inputs["published"]
    facts = {
        **inputs,
        "settings": inputs["settings"].model_dump(mode="json"),
        "shards": inputs["shards"].model_dump(mode="json"),
        "published": published.model_dump(mode="json") if published else None,
        "images": stamp,
        "index": file_digest(Path(parse(inputs["index_uri"]).path)),
        "labels": file_digest(Path(parse(inputs["labels_uri"]).path)) if inputs["labels_uri"] else None,
        "code": [package_version("imagemill"), FORMAT_VERSION],
    }
    # Not sorted: the order of the splits decides which rows each of them gets.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(file: Path, digest: str) -> ConversionPlan | None:
    try:
        found = _CachedPlan.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return found.plan if found.inputs == digest else None
