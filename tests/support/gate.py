"""Has the gate judge versions in tests, by the native reader: TensorFlow costs seconds to import."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagemill.quality.report import Report, Verdict
from imagemill.quality.validate import validate_version
from imagemill.rows import Row
from imagemill.spec.validation import Validation
from imagemill.version.facts import FACTS
from tests.support.tampering import replace_object
from tests.support.versions import BuiltVersion, build_version, picture

VERSION = "20260101T000000Z-abababab"
LATER = "20260102T000000Z-cdcdcdcd"


def judge(version: BuiltVersion, settings: Validation | None = None, **options: Any) -> Report:
    """Validates a version against its staged images."""
    return validate_version(
        str(version.folder),
        settings=settings or Validation(),
        images_uri=str(version.images),
        reader="native",
        **options,
    )


def failed(report: Report) -> set[str]:
    return {check.name for check in report.checks if check.verdict is Verdict.FAILED}


def blocked(report: Report) -> set[str]:
    return {check.name for check in report.checks if check.blocks}


def build(
    root: Path, images: dict[Row, bytes], *, version: str = VERSION, labels: list[str] | None = None, shards: int = 2
) -> BuiltVersion:
    """Writes a version of these images, by default with the labels of the rows in alphabetical order."""
    staged = root / f"{version}-images"
    for row, data in images.items():
        path = staged / row.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    staged.mkdir(parents=True, exist_ok=True)
    return build_version(
        root / "versions" / version,
        staged,
        images,
        labels=labels if labels is not None else sorted({row.label for row in images}),
        shards=dict.fromkeys(sorted({row.split for row in images}), shards),
    )


def toys(count: int = 60, labels: tuple[str, ...] = ("cat", "dog", "owl")) -> dict[Row, bytes]:
    """Returns images that are all different: labels in turn, every fourth in `test`."""
    return {
        Row(f"{n:05}.png", labels[n % len(labels)], "test" if n % 4 == 3 else "train"): picture(n) for n in range(count)
    }


def edit_facts(version: BuiltVersion, edit: Callable[[Any], None]) -> None:
    """Changes facts.json as plain JSON; the manifest follows."""
    content = json.loads((version.folder / FACTS).read_bytes())
    edit(content)
    replace_object(version, FACTS, json.dumps(content).encode())
