"""Runs contestants side by side, each as a process of its own, and keeps what every run took."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Attributes:
        name: As the table says it.
        module: Module with the competitor, run by `python -m`.
        arguments: Its arguments.
        output: Folder it writes to.
        keep: What stays in that folder between the runs.
        environment: Variables that it needs besides this process's own.
    """

    name: str
    module: str
    arguments: Sequence[str | Path]
    output: Path
    keep: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run: after its imports, and as a whole process.

    Attributes:
        net_seconds: From the end of the imports to the end of the work.
        whole_seconds: From the start of the process to its end.
        records: Records written.
        cpu_seconds: Of the process and those it started; None where that was not measured.
        peak_bytes: Resident memory of the largest of them; likewise.
    """

    net_seconds: float
    whole_seconds: float
    records: int
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


@dataclass
class Result:
    """All runs of one contestant."""

    name: str
    runs: list[Run] = field(default_factory=list)

    def median(self, measure: str) -> float:
        """Returns the median of one measure; not a number where it was not taken."""
        taken = [value for run in self.runs if (value := getattr(run, measure)) is not None]
        return statistics.median(taken) if taken else math.nan

    @property
    def rate(self) -> float:
        """Records a second, after the imports."""
        return self.runs[0].records / self.median("net_seconds")


def compete(contestants: Sequence[Contestant], *, repeats: int) -> list[Result]:
    """Runs each contestant `repeats` times, in turns, so that what slows the machine slows them all."""
    results = [Result(contestant.name) for contestant in contestants]
    for turn in range(repeats):
        for contestant, result in zip(contestants, results, strict=True):
            run = measure(contestant)
            result.runs.append(run)
            print(
                f"{turn + 1}/{repeats}  {run.net_seconds:8.2f} s net  {run.whole_seconds:8.2f} s whole  {result.name}",
                file=sys.stderr,
                flush=True,
            )
    return results


def measure(contestant: Contestant) -> Run:
    """Runs one contestant once, on an output that is empty but for what is to be kept."""
    _clear(contestant.output, keep=contestant.keep)
    command = [sys.executable, "-m", contestant.module, *map(str, contestant.arguments)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | contestant.environment
    # Some sandboxes set it; then every start compiles thousands of modules anew, which no user's does.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=answer, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        whole = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        answer.seek(0)
        log.seek(0)
        if process.returncode:
            raise RuntimeError(f"{contestant.name} failed with {process.returncode}:\n{log.read()[-4000:]}")
        said = json.loads(answer.read().splitlines()[-1])
    return Run(
        net_seconds=said["net_seconds"],
        whole_seconds=whole,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        # Kilobytes on Linux, bytes on macOS.
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        records=said["records"],
    )


def _clear(folder: Path, *, keep: Sequence[str]) -> None:
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        for path in folder.iterdir():
            if path.name not in keep:
                path.unlink()
