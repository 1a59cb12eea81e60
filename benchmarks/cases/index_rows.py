"""An index ten times as long: memory stays, and so does the rate. Images are small and shared."""

from __future__ import annotations

from benchmarks.cases.case import Measured, Ratio
from benchmarks.cases.conversion import ONE_WORKER
from benchmarks.contest import compete
from benchmarks.workshop import Workshop

ROWS = (100_000, 1_000_000)
SHARED = 1_000


def run(workshop: Workshop) -> Measured:
    jobs, planners = [], []
    for rows in map(workshop.scaled, ROWS):
        name = f"imagemill, {rows:,} rows"
        planners.append(workshop.planner(name, workshop.tree(rows, distinct=SHARED)))
        jobs.append(workshop.job(name, *ONE_WORKER))
    planned = compete(planners, repeats=1)
    few, many = (result.median("peak_bytes") for result in planned)
    results = compete(jobs, repeats=workshop.repeats)
    short, long = results
    return Measured(
        title="An index ten times as long",
        about=f"One worker; every row is a file of its own, hard links of {SHARED:,} pictures.",
        results=[*results, *planned],
        ratios=[
            Ratio("peak memory, of the short index's", long.median("peak_bytes") / short.median("peak_bytes"), 1.2),
            Ratio("peak memory of planning, of the short index's", many / few, 1.2),
            Ratio("rate, of the short index's", long.rate / short.rate, 0.95, at_least=True),
        ],
    )
