"""60,000 CIFAR-size PNG on the local disk, one worker, against the other ways to make TFRecords of them."""

from __future__ import annotations

from benchmarks.cases.case import Measured, Ratio
from benchmarks.contest import Contestant, compete, measure
from benchmarks.workshop import Workshop

ROWS = 60_000
ONE_WORKER = ("--worker_processes=1",)


def run(workshop: Workshop) -> Measured:
    rows = workshop.scaled(ROWS)
    tree = workshop.tree(rows)
    header, decode = "imagemill, header check", "imagemill, decode check"
    planners = [workshop.planner(header, tree), workshop.planner(decode, tree, verification="decode")]
    for planner in planners:
        measure(planner)
    shards = str(-(-rows // 10_000))  # what imagemill plans
    results = compete(
        [
            workshop.job(header, *ONE_WORKER),
            workshop.job(decode, *ONE_WORKER),
            _competitor(workshop, "bare TensorFlow loop", "bare_tensorflow", tree, shards),
            _competitor(workshop, "textbook Beam pipeline", "textbook_beam", tree, shards),
            _competitor(workshop, "TFDS, generator builder", "tfds_builder", tree),
            _competitor(workshop, "TFDS, Beam builder", "tfds_builder", tree, beam=True),
        ],
        repeats=workshop.repeats,
    )
    ours, _, loop, textbook, generator, beam = results
    net, whole = ours.median("net_seconds"), ours.median("whole_seconds")
    return Measured(
        title=f"{rows:,} CIFAR-size PNG, local disk, one worker",
        about="imagemill also checks every image, takes its SHA-256 and two checksums, writes an index for random "
        "access and proves that nothing changed since planning; the loop and the textbook pipeline do none of that. "
        "Planning is not in it; it is measured with the workers.",
        results=results,
        ratios=[
            Ratio("net time, of the bare loop's", net / loop.median("net_seconds"), 1.2),
            Ratio("faster than the textbook pipeline, net", textbook.median("net_seconds") / net, 2.0, at_least=True),
            Ratio("faster than TFDS's generator, net", generator.median("net_seconds") / net, 1.5, at_least=True),
            Ratio("faster than TFDS's Beam builder, net", beam.median("net_seconds") / net, 8.0, at_least=True),
            Ratio("whole process, of the bare script's", whole / loop.median("whole_seconds"), 0.55),
            Ratio("whole process, of the textbook pipeline's", whole / textbook.median("whole_seconds"), 0.4),
        ],
    )


def _competitor(workshop: Workshop, name: str, module: str, tree: object, *rest: str, beam: bool = False) -> Contestant:
    output = workshop.version(name)
    arguments = [tree, output, *rest, *(["--beam"] if beam else [])]
    return Contestant(name, f"benchmarks.competitors.{module}", [str(argument) for argument in arguments], output)
