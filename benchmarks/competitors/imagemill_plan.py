"""Planning: a pass over the index and one over the listing, with the checksum of every image.

`python -m benchmarks.competitors.imagemill_plan TREE VERSION SETTINGS`; the settings are JSON of `ConversionSettings`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.competitors.stopwatch import report
from imagemill.conversion.planning import plan_conversion, write_plan
from imagemill.plan import ConversionSettings
from imagemill.spec import Shards
from imagemill.storage import join


def plan() -> int:
    tree, version = sys.argv[1], Path(sys.argv[2])
    planned = plan_conversion(
        dataset="bench",
        index_uri=join(tree, "index.csv"),
        images_uri=join(tree, "images"),
        settings=ConversionSettings.model_validate_json(sys.argv[3]),
        shards=Shards(),
    )
    write_plan(planned, version=version.name, version_uri=str(version))
    return planned.rows


if __name__ == "__main__":
    report(plan)
