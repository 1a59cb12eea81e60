"""Runs one refresh in this process: the real DAG on a real Airflow, whose database needs no server.

`python -m imagemill_airflow.local_run NAME --home DIR` tells a person on stderr what happens, keeps Airflow's own log
in a file, writes a summary as JSON, and exits with 0 (good), 1 (unusable data, failed check, bug), 2 (the caller's
mistake), 3 (a temporary fault that outlived its retries) or 130 (stopped).
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, get_args

from imagemill import home
from imagemill.errors import CallerError, ImagemillError, family_of
from imagemill.spec import Conversion
from imagemill.spec.file import find_spec
from imagemill_airflow.environment import DAG_FILE, airflow_environment, dags_folder
from imagemill_airflow.local_airflow import exclusive, load_dag, migrate

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG, Context

AIRFLOW_HOME = "airflow-local"
"""Not the home of `make up`: its scheduler would take the run of a shared database for one of its own."""

INTERRUPTED = 130
"""Exit code of a run that was stopped, as shells have it."""

RUNNERS = get_args(Conversion.model_fields["runner"].annotation)

_TOLD = tuple(
    f"imagemill_airflow.{module}" for module in ("task_log", "tasks", "operators", "approval", "run_settings")
)
"""Loggers whose lines a person at a terminal wants to see."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = _parser().parse_args(arguments)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    try:
        return _refresh(options, terminal)
    except ImagemillError as error:
        print(f"imagemill: {error}", file=terminal)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        traceback.print_exc(file=terminal)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m imagemill_airflow.local_run", description=__doc__)
    parser.add_argument("name", help="dataset")
    parser.add_argument("--home", type=Path, required=True, help="imagemill's home; Airflow's is a folder in it")
    parser.add_argument("--specs", type=Path, help="folder of the specs")
    parser.add_argument("--force", action="store_true", help="convert even when nothing changed")
    parser.add_argument("--limit", type=_count, default=0, help="rehearse on this many rows")
    parser.add_argument("--runner", choices=RUNNERS, help="instead of the spec's")
    parser.add_argument("--shards", type=_count, help="in each split, instead of the spec's")
    parser.add_argument("--approve", action="store_true", help="answer the spec's approval with yes")
    parser.add_argument("--summary", type=Path, help="where to write the summary")
    parser.add_argument("--json", action="store_true", help="print the summary")
    parser.add_argument("--verbose", action="store_true", help="show Airflow's log instead of keeping it in a file")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="stop when stdin closes, as it does when the parent dies"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _refresh(options: argparse.Namespace, terminal: TextIO) -> int:
    started = time.monotonic()
    # Importing Airflow makes a million objects that stay: collecting them over and over costs a second or two.
    gc.disable()
    specs = (options.specs or home.specs_dir()).absolute()
    spec = find_spec(options.name, folder=specs)
    if spec.approval == "required" and not options.approve:
        raise CallerError(
            f"{spec.name} wants an approval before it is published: give it with --approve, or run it in Airflow's UI"
        )
    airflow_home = options.home.absolute() / AIRFLOW_HOME
    os.environ.update(airflow_environment(specs=specs, home_folder=options.home.absolute(), airflow_home=airflow_home))
    if options.end_with_stdin:
        threading.Thread(target=_end_with_stdin, name="end-with-stdin", daemon=True).start()
    with exclusive(airflow_home, what=f"refresh {spec.name}", say=lambda line: print(line, file=terminal)):
        log = None if options.verbose else _redirect_output(airflow_home / "logs" / f"refresh_{spec.name}.log")
        migrate(airflow_home)
        dag = load_dag(dags_folder(specs) / DAG_FILE, f"refresh_{spec.name}")
        summary = run_dag(dag, _conf(options), approve=options.approve, terminal=terminal)
    summary |= {"dataset": spec.name, "seconds": round(time.monotonic() - started, 2), "log": log and str(log)}
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    if options.summary:
        options.summary.write_text(text)
    if options.json:
        os.write(_STDOUT, text.encode() + b"\n")
    return int(summary["exit_code"])


def _conf(options: argparse.Namespace) -> dict[str, Any]:
    conf = {"force": options.force, "limit": options.limit, "shards": options.shards}
    return conf | ({"runner": options.runner} if options.runner else {})


def run_dag(dag: DAG, conf: dict[str, Any], *, approve: bool, terminal: TextIO) -> dict[str, Any]:
    """Runs a refresh in this process, on the Airflow that the environment names.

    Args:
        dag: A freshly loaded DAG; its callbacks and pauses are changed.
        conf: Values for the trigger form.
        approve: Answers the approval, where the spec wants one.
        terminal: Where a person reads what happens.

    Returns:
        The summary: `state`, `exit_code`, `failure` (`task`, `family`, `message`; None where all went well), `tasks`
        (`task`, `state`, `seconds`) in their order, and `results`, what each task returned.
    """
    reporter = Reporter(terminal)
    reporter.watch(dag)
    try:
        run = dag.test(run_conf=conf, mark_success_pattern="approve" if approve else None)
    except KeyboardInterrupt as stopped:
        reporter.failed(None, stopped)
        return {
            "state": "interrupted",
            "exit_code": INTERRUPTED,
            "failure": reporter.failure,
            "tasks": [],
            "results": {},
        }
    good = run.state == "success"
    return {
        "state": str(run.state),
        "exit_code": 0 if good else reporter.exit_code or 1,
        "failure": None if good else reporter.failure,
        **_records(dag, run),
    }


def _records(dag: DAG, run: DagRun) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(XComModel).filter_by(dag_id=run.dag_id, run_id=run.run_id, key="return_value"))
        results = {row.task_id: XComModel.deserialize_value(row) for row in rows}
        instances = {ti.task_id: ti for ti in run.get_task_instances(session=session)}
    order = dag.topological_sort()  # type: ignore[no-untyped-call]  # Airflow's own, without types
    ordered = [instances[task.task_id] for task in order]
    tasks = [{"task": ti.task_id, "state": str(ti.state), "seconds": round(ti.duration or 0, 2)} for ti in ordered]
    return {"tasks": tasks, "results": results}


class Reporter:
    """Follows a run's tasks from inside: says on the terminal what happens, and keeps why it failed."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._handler = logging.StreamHandler(terminal)
        self._started = time.monotonic()
        self.failure: dict[str, Any] | None = None
        self.exit_code = 0

    def watch(self, dag: DAG) -> None:
        """Adds itself to the tasks' callbacks, and fits the pauses between tries to a person who waits."""
        ours = {
            "on_execute_callback": self._begin,
            "on_success_callback": lambda context: self._end(context, "done"),
            "on_skipped_callback": lambda context: self._end(context, "skipped"),
            "on_retry_callback": lambda context: self._end(context, "failed, and is tried again"),
            "on_failure_callback": self._fail,
        }
        for task in dag.tasks:
            for name, callback in ours.items():
                setattr(task, name, [*getattr(task, name), callback])
            task.retry_delay, task.max_retry_delay = timedelta(seconds=1), timedelta(seconds=10)
        self._handler.setFormatter(logging.Formatter("  %(message)s"))
        for logger in map(logging.getLogger, _TOLD):
            logger.addHandler(self._handler)
            logger.setLevel(logging.INFO)

    def close(self) -> None:
        """Says no more."""
        for logger in map(logging.getLogger, _TOLD):
            logger.removeHandler(self._handler)

    def failed(self, task_id: str | None, error: BaseException | None) -> None:
        """Keeps the reason and the exit code of the run's failure."""
        family = family_of(error)
        self.exit_code = error.exit_code if isinstance(error, ImagemillError) else 1
        if isinstance(error, KeyboardInterrupt):
            family, self.exit_code = "interrupted", INTERRUPTED
        message = (str(error) or type(error).__name__) if error is not None else "its process was lost"
        self.failure = {"task": task_id, "family": family, "message": message}

    def _begin(self, context: Context) -> None:
        # From here on there is little to collect at once, and much that may live long.
        gc.freeze()
        gc.enable()
        # Airflow's own handler asks the task to stop and goes on; here the whole run must stop.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._started = time.monotonic()

    def _end(self, context: Context, outcome: str) -> None:
        error = context.get("exception")
        why = f": {error}" if error is not None and str(error) else ""
        seconds = time.monotonic() - self._started
        print(f"{context['ti'].task_id:<16} {outcome} in {seconds:.1f} s{why}", file=self._terminal)

    def _fail(self, context: Context) -> None:
        self._end(context, "FAILED")
        error = context.get("exception")
        self.failed(context["ti"].task_id, error if isinstance(error, BaseException) else None)


_STDOUT = os.dup(1)


def _redirect_output(log: Path) -> Path:
    """Sends all that this process and its children print to a file; the caller keeps its own way to the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    return log


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Airflow's in-process API server leaves threads that take seconds to give up.
    os._exit(code)
