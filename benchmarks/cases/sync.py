"""`imagemill sync` beside Google's own tool; `benchmarks.sync_speed` measures it."""

from __future__ import annotations

from benchmarks import sync_speed
from benchmarks.cases.case import Measured, Ratio
from benchmarks.contest import Result, Run
from benchmarks.workshop import Workshop

OBJECTS = 5_000


def run(workshop: Workshop) -> Measured:
    objects = workshop.scaled(OBJECTS)
    found = sync_speed.run(objects, repeats=min(3, workshop.repeats))
    return Measured(
        title=f"{objects:,} PNG to an object store",
        about="Whole processes, medians; the emulator, which runs on the same machine, is most of their time.",
        results=[
            Result(
                name,
                [
                    Run(
                        net_seconds=each["seconds"],
                        whole_seconds=each["seconds"],
                        cpu_seconds=each["cpu_seconds"],
                        peak_bytes=int(each["peak_mib"] * (1 << 20)),
                        records=objects,
                    )
                ],
            )
            for name, each in found["runs"].items()
        ],
        ratios=[Ratio(each["what"], each["value"], each["target"], at_least=True) for each in found["ratios"]],
    )
