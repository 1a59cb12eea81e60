"""Where a version comes from, as facts for a person."""

from __future__ import annotations

import json

from imagemill.plan import ConversionPlan
from imagemill.quality.evidence import printable
from imagemill.storage.store import MissingObject, Store
from imagemill.version.run_record import RUN, package_version


def read_provenance(store: Store, plan: ConversionPlan | None) -> dict[str, str]:
    """Returns what plan and run tell, with dotted names; nothing of what cannot be read."""
    facts: dict[str, str] = {"validated with": f"imagemill {package_version('imagemill') or '(not installed)'}"}
    if plan is not None:
        facts["index"], facts["images"] = plan.index, plan.images
        facts |= _flat("settings", plan.settings.model_dump(mode="json"))
    return facts | _read_run(store)


def _read_run(store: Store) -> dict[str, str]:
    try:
        told = _flat("run", json.loads(store.read(RUN)))
    except (MissingObject, ValueError, RecursionError):  # the last: brackets in brackets, a thousand deep
        return {}
    return {printable(name): printable(text) for name, text in told.items()}


def _flat(prefix: str, value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {
            name: text
            for key, part in value.items()
            for name, text in _flat(f"{prefix}.{key}" if prefix else str(key), part).items()
        }
    if isinstance(value, list):
        return {prefix: ", ".join(map(str, value))}
    return {prefix: "" if value is None else str(value)}
