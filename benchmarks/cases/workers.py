"""600,000 CIFAR-size PNG, with one worker and with what this machine gets by default."""

from __future__ import annotations

from benchmarks.cases.case import Measured, Ratio
from benchmarks.cases.conversion import ONE_WORKER
from benchmarks.contest import compete, measure
from benchmarks.workshop import Workshop

ROWS = 600_000


def run(workshop: Workshop) -> Measured:
    rows = workshop.scaled(ROWS)
    tree = workshop.tree(rows)
    one, two = "imagemill, 1 worker", "imagemill, by default"
    planner = workshop.planner(one, tree)
    measure(workshop.planner(two, tree))
    measure(planner)
    results = compete(
        [workshop.job(one, *ONE_WORKER), workshop.job(two)],
        repeats=workshop.repeats,
    )
    planned = compete([planner], repeats=1)
    return Measured(
        title=f"{rows:,} CIFAR-size PNG, one and two workers",
        about="Hard links of 60,000 pictures. Planning a local folder reads every image once, for its checksum.",
        results=[*results, *planned],
        ratios=[
            Ratio("rate of two workers, of one's", results[1].rate / results[0].rate, 1.6, at_least=True),
        ],
    )
