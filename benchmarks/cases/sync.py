"""`imagemill sync` beside Google's own tool; `benchmarks.sync_speed` measures it."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import sync_speed
from benchmarks.cases.case import Measured, Ratio
from benchmarks.contest import Result, Run
from benchmarks.workshop import Workshop

OBJECTS, MANY_OBJECTS = 5_000, 60_000

FLAT = 1.2
"""Target: times the memory for many objects."""


def run(workshop: Workshop) -> Measured:
    objects, many = workshop.scaled(OBJECTS), workshop.scaled(MANY_OBJECTS)
    found = sync_speed.run(objects, repeats=min(3, workshop.repeats))
    alone = sync_speed.run(many, repeats=1, alone=True)
    few_peak, many_peak = (each["runs"][sync_speed.OURS]["peak_mib"] for each in (found, alone))
    memory = Ratio(f"times the memory, {many:,} objects over {objects:,}", many_peak / few_peak, FLAT)
    return Measured(
        title=f"{objects:,} PNG to an object store",
        about="Whole processes, medians; the emulator, which runs on the same machine, is most of their time.",
        results=[
            *(_result(name, each, objects) for name, each in found["runs"].items()),
            *(_result(f"{name}, {many:,} objects", each, many) for name, each in alone["runs"].items()),
        ],
        ratios=[
            *(Ratio(each["what"], each["value"], each["target"], at_least=True) for each in found["ratios"]),
            memory,
        ],
    )


def _result(name: str, measured: Mapping[str, float], objects: int) -> Result:
    run = Run(
        net_seconds=measured["seconds"],
        whole_seconds=measured["seconds"],
        cpu_seconds=measured["cpu_seconds"],
        peak_bytes=int(measured["peak_mib"] * (1 << 20)),
        records=objects,
    )
    return Result(name, [run])
