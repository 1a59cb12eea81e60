"""How long a diff of two large versions takes, and how much memory: `python -m benchmarks.diff_speed [RECORDS]`.

The versions are real in what a diff reads, indexes and manifests; 1% of their images differ, and 1% are relabelled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.index_versions import IndexedImage, write_indexes

LABELS = [f"label {number:03}" for number in range(100)]
RECORDS_PER_SHARD = 10_000

# In a process of its own, so that its peak is its own; Linux keeps it in /proc.
_MEASURE = """
import json, sys, time
from imagemill.diff.compare import diff_versions

def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

before = peak_mib()
started = time.perf_counter()
total = diff_versions(*sys.argv[1:]).total
print(json.dumps({
    "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time(),
    "peak_mib": peak_mib(), "imports_mib": before,
    "changed": total.changed, "relabelled": total.relabelled,
}))
"""


def run(scale: int = 1_000_000) -> dict[str, float]:
    """Returns seconds (of the diff, of the process, of its CPU), peak memory, and the memory before the diff, in MiB.

    Args:
        scale: Records of each version.
    """
    with tempfile.TemporaryDirectory(prefix="imagemill-") as folder:
        uris = []
        for name, changed in (("before", False), ("after", True)):
            shards = {"test": -(-scale // 6 // RECORDS_PER_SHARD), "train": -(-scale * 5 // 6 // RECORDS_PER_SHARD)}
            images = _images(scale, changed=changed)
            uris.append(str(write_indexes(Path(folder) / name, images, labels=LABELS, shards=shards)))
        started = time.perf_counter()
        ended = subprocess.run([sys.executable, "-c", _MEASURE, *uris], check=True, capture_output=True, text=True)
        whole = time.perf_counter() - started
    measured: dict[str, float] = json.loads(ended.stdout)
    return {"records": scale, "whole_seconds": whole, **measured}


def _images(count: int, *, changed: bool) -> Iterator[IndexedImage]:
    for number in range(count):
        other = changed and number % 100 == 7
        relabelled = changed and number % 100 == 8
        yield IndexedImage(
            key=f"images/{number:08}.png",
            split="test" if number % 6 == 5 else "train",
            label=LABELS[(number + relabelled) % len(LABELS)],
            image=number + count * other,
        )


if __name__ == "__main__":
    for records in map(int, sys.argv[1:] or ["60000", "1000000"]):
        print(json.dumps(run(records)))
