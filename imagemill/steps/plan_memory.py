"""Remembers the last plan, so that rows and images that are known to be the same are not counted again."""

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
from imagemill.stamps import folder_stamp
from imagemill.storage import is_local, parse
from imagemill.version.run_record import package_version


class Question(TypedDict):
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


class _Memory(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    plan: ConversionPlan


def plan_once(memory: Path | None, **question: Unpack[Question]) -> ConversionPlan:
    """Returns the plan of `conversion.planning`, from memory where nothing it depends on has changed.

    Args:
        memory: A file that keeps the last plan; None keeps none.
        question: What to plan.

    Raises:
        ImagemillError: As `conversion.planning`.
    """
    asked = _digest(question) if memory else None
    if asked is None or memory is None:
        return plan_conversion(**question)
    if known := _read(memory, asked):
        return known
    plan = plan_conversion(**question)
    if _digest(question) == asked:  # nothing changed while it was counted
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_name(f"{memory.name}.part")
        partial.write_text(_Memory(asked=asked, plan=plan).model_dump_json() + "\n", encoding="utf-8")
        partial.replace(memory)
    return plan


def _digest(question: Question) -> str | None:
    """Returns a digest of all that decides the plan, None where the images are not known without being read."""
    if not (is_local(question["images_uri"]) and is_local(question["index_uri"])):
        return None
    stamp = folder_stamp(parse(question["images_uri"]).path)
    if stamp is None:
        return None
    published = question["published"]
    facts = {
        **question,
        "settings": question["settings"].model_dump(mode="json"),
        "shards": question["shards"].model_dump(mode="json"),
        "published": published.model_dump(mode="json") if published else None,
        "images": stamp,
        "index": file_digest(Path(parse(question["index_uri"]).path)),
        "labels": file_digest(Path(parse(question["labels_uri"]).path)) if question["labels_uri"] else None,
        "code": [package_version("imagemill"), FORMAT_VERSION],
    }
    # Not sorted: the order of the splits decides which rows each of them gets.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(memory: Path, asked: str) -> ConversionPlan | None:
    try:
        found = _Memory.model_validate_json(memory.read_bytes())
    except (OSError, ValidationError):
        return None
    return found.plan if found.asked == asked else None
