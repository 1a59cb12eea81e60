"""Small images in an object store that takes 5 ms to answer, against a loop of google-cloud-storage."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.cases.case import Measured, Ratio
from benchmarks.cases.conversion import ONE_WORKER
from benchmarks.contest import Contestant, compete, measure
from benchmarks.workshop import Workshop
from tests.support.gcs.server import client_environment, emulator
from tests.support.servers import LOOPBACK, free_ports, running, wait_for_port

ROWS = 10_000
FETCHED = 2_000
"""Images that the loop fetches: its rate does not depend on how many."""
LATENCY_SECONDS = 0.005


def run(workshop: Workshop) -> Measured:
    rows, fetched = workshop.scaled(ROWS), workshop.scaled(FETCHED)
    name = "imagemill, from the object store"
    tree = workshop.tree(rows)
    with _store(tree) as environment:
        measure(replace(workshop.planner(name, "gs://bench"), environment=environment))
        loop = Contestant(
            "one image after the other, google-cloud-storage",
            "benchmarks.competitors.one_by_one",
            ["bench", tree / "index.csv", str(fetched)],
            workshop.version("one by one"),
        )
        contestants = [replace(each, environment=environment) for each in (workshop.job(name, *ONE_WORKER), loop)]
        compete(contestants, repeats=1)  # what is asked for the first time is answered by the emulator
        results = compete(contestants, repeats=workshop.repeats)
    return Measured(
        title=f"{rows:,} CIFAR-size PNG in an object store, 5 ms away, one worker",
        about="The store is on the same machine, and answers from memory, 5 ms after it was asked. The loop fetches "
        f"{fetched:,} images and makes nothing of them. Both are one process, each on a core of its own at most but "
        "for what native threads do: rates are images a second of wall time, and the CPU seconds stand beside them.",
        results=results,
        ratios=[Ratio("rate of one worker, of the loop's", results[0].rate / results[1].rate, 15.0, at_least=True)],
    )


@contextmanager
def _store(tree: Path) -> Iterator[dict[str, str]]:
    """Yields the environment of the clients of a store that holds the tree in the bucket `bench`."""
    with tempfile.TemporaryDirectory(prefix="imagemill-") as name:
        folder = Path(name)
        with emulator(folder, buckets=["bench"]) as gcs:
            command = [sys.executable, "-m", "imagemill", "sync", str(tree), "gs://bench"]
            environment = os.environ | client_environment(gcs.url)
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            (port,) = free_ports(1)
            command = [sys.executable, "-m", "benchmarks.delayed_store", str(port), gcs.url, str(LATENCY_SECONDS)]
            with running("store", command, log=folder / "store.log") as server:
                wait_for_port(port, server)
                yield client_environment(f"http://{LOOPBACK}:{port}")
