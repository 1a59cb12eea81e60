"""The difference between two large versions; `benchmarks.diff_speed` measures it."""

from __future__ import annotations

from benchmarks import diff_speed
from benchmarks.cases.case import Measured
from benchmarks.contest import Result, Run
from benchmarks.workshop import Workshop

RECORDS = (60_000, 1_000_000)


def run(workshop: Workshop) -> Measured:
    return Measured(
        title="The difference between two versions",
        about="Only indexes and manifests are read; 1% of the images differ, and 1% are relabelled.",
        results=[_result(workshop.scaled(records)) for records in RECORDS],
    )


def _result(records: int) -> Result:
    found = diff_speed.run(records)
    run = Run(
        net_seconds=found["seconds"],
        whole_seconds=found["whole_seconds"],
        cpu_seconds=found["cpu_seconds"],
        peak_bytes=int(found["peak_mib"] * (1 << 20)),
        records=records,
    )
    return Result(f"imagemill diff, {records:,} records each", [run])
