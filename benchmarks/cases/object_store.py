"""Small images in an object store that takes 5 ms to answer, against a loop of google-cloud-storage."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.cases.case import Measured, Ratio
from benchmarks.cases.conversion import ONE_WORKER
from benchmarks.contest import Contestant, compete, measure
from benchmarks.workshop import Workshop
from tests.support.gcs.faults import Rule
from tests.support.gcs.server import client_environment, emulator

ROWS = 10_000
FETCHED = 2_000
"""Images that the loop fetches: its rate does not depend on how many."""
LATENCY = Rule(kind="latency", seconds=0.005, times=-1)


def run(workshop: Workshop) -> Measured:
    rows, fetched = workshop.scaled(ROWS), workshop.scaled(FETCHED)
    tree = workshop.tree(rows)
    name = "imagemill, from the object store"
    with tempfile.TemporaryDirectory(prefix="imagemill-") as folder, emulator(Path(folder), buckets=["bench"]) as gcs:
        environment = client_environment(gcs.url)
        _upload(tree, environment)
        gcs.strike(LATENCY)
        measure(replace(workshop.planner(name, "gs://bench"), environment=environment))
        loop = Contestant(
            "one image after the other, google-cloud-storage",
            "benchmarks.competitors.one_by_one",
            ["bench", tree / "index.csv", str(fetched)],
            workshop.version("one by one"),
        )
        ours = workshop.job(name, *ONE_WORKER)
        results = compete([replace(each, environment=environment) for each in (ours, loop)], repeats=workshop.repeats)
    rate = results[0].rate / results[1].rate
    return Measured(
        title=f"{rows:,} CIFAR-size PNG in an object store, 5 ms away, one worker",
        about="The emulator runs on the same machine; every answer of it is delayed. The loop fetches "
        f"{fetched:,} images and makes nothing of them.",
        results=results,
        ratios=[Ratio("rate of one worker, of the loop's", rate, 15.0, at_least=True)],
    )


def _upload(tree: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "imagemill", "sync", str(tree), "gs://bench"]
    subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
