"""What a competitor tells the benchmark: its time after its imports, as JSON on its last line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable


def report(work: Callable[[], int]) -> None:
    """Runs the work, which returns how many records it wrote, and prints what it took."""
    started = time.perf_counter()
    records = work()
    print(json.dumps({"net_seconds": time.perf_counter() - started, "records": records}), flush=True)
