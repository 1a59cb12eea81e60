"""The whole DAG through Airflow's own scheduler, as a person meets it: from the trigger to the published version."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cases.case import Measured, Ratio
from benchmarks.contest import Result, Run
from benchmarks.workshop import Workshop
from imagemill.sources.shapes import draw_archive
from imagemill.spec import ShapesSource
from tests.support.scheduler import Stack, airflow_stack

ROWS = 60_000
LONGEST_SECONDS = 60.0
UNCHANGED_SHARE = 0.05

SPEC = """
name: {name}
source: {{type: shapes, train: {train}, test: {test}}}
splits: {{names: [train, test]}}
"""


@dataclass(frozen=True)
class TaskTime:
    """One task of a run.

    Attributes:
        name: Its id.
        own_seconds: From its start to its end, as Airflow records them.
        since_seconds: From the end of the task before it, or from the trigger: the scheduler's share is in it.
    """

    name: str
    own_seconds: float
    since_seconds: float


def run(workshop: Workshop) -> Measured:
    rows = workshop.scaled(ROWS)
    source = ShapesSource(type="shapes", train=rows - rows // 6, test=rows // 6)
    firsts: list[list[TaskTime]] = []
    agains: list[list[TaskTime]] = []
    workshop.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=workshop.folder) as folder,
        airflow_stack(Path(folder), as_in_real_life=True) as airflow,
    ):
        draw_archive(source, airflow.home / "work" / "downloads")
        for turn in range(min(3, workshop.repeats)):
            name = f"turn_{turn}"
            dag_id = airflow.spec(name, SPEC.format(name=name, train=source.train, test=source.test))
            firsts.append(refresh(airflow, dag_id))
            agains.append(refresh(airflow, dag_id))
    parts = [result(f"· {name}", list(turns), rows) for name, turns in _by_task(firsts)]
    first, again = result("a first refresh", firsts, rows), result("again, nothing changed", agains, rows)
    whole = first.median("whole_seconds")
    return Measured(
        title=f"A refresh of {rows:,} CIFAR-size images, through Airflow's scheduler",
        about="From an archive in CIFAR-10's layout, on the local disk, with Airflow's default settings, on SQLite. "
        "Net: the tasks from start to end. Whole: from the trigger, or the end of the task before, so that what the "
        "scheduler and the start of each task's process take is in it.",
        results=[first, *parts, again],
        ratios=[
            Ratio("seconds from the trigger to the published version", whole, LONGEST_SECONDS),
            Ratio("nothing changed, of a first refresh", again.median("whole_seconds") / whole, UNCHANGED_SHARE),
        ],
    )


def refresh(airflow: Stack, dag_id: str) -> list[TaskTime]:
    """Runs a DAG once and returns the times of the tasks that did something, in their order."""
    before = datetime.now(UTC)
    run_id = airflow.trigger(dag_id)
    if airflow.finished(dag_id, run_id, seconds=600) != "success":
        raise RuntimeError(f"{dag_id} failed: {airflow.states(dag_id, run_id)}")
    done = [each for each in airflow.tasks(dag_id, run_id).values() if each["state"] == "success"]
    times = []
    for task in sorted(done, key=lambda each: str(each["end_date"])):
        start, end = (datetime.fromisoformat(task[moment]) for moment in ("start_date", "end_date"))
        times.append(TaskTime(task["task_id"], (end - start).total_seconds(), (end - before).total_seconds()))
        before = end
    return times


def result(name: str, turns: Sequence[Sequence[TaskTime]], rows: int) -> Result:
    """Returns what some tasks took together, turn by turn."""
    return Result(
        name,
        [
            Run(
                net_seconds=sum(task.own_seconds for task in turn),
                whole_seconds=sum(task.since_seconds for task in turn),
                records=rows,
            )
            for turn in turns
        ],
    )


def _by_task(turns: Sequence[Sequence[TaskTime]]) -> list[tuple[str, list[list[TaskTime]]]]:
    return [(tasks[0].name, [[task] for task in tasks]) for tasks in zip(*turns, strict=True)]
