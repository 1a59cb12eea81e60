"""The conversion job as users run it, timed from the end of its imports.

`python -m benchmarks.competitors.imagemill_job PLAN [Beam options]`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from beam_jobs.convert_images import main  # first: as where users run it, this decides what Beam imports

# isort: split
from apache_beam.runners.portability import fn_api_runner  # noqa: F401 - an import too, though Beam makes it late

from benchmarks.competitors.stopwatch import report


def convert() -> int:
    plan = Path(sys.argv[1])
    if code := main([f"--plan={plan}", *sys.argv[2:]]):
        sys.exit(code)
    manifest = json.loads(plan.with_name("manifest.json").read_text())
    return sum(shard["records"] for shard in manifest["shards"])


if __name__ == "__main__":
    report(convert)
