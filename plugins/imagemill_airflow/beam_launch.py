"""Launches the Beam job and says, when it fails, which family of errors that was and why."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.apache.beam.hooks.beam import BeamHook, beam_options_to_args
from typing_extensions import override

from imagemill.errors import FAILURE, CallerError, TemporaryFault, read_failure_line
from imagemill.processes import python_environment
from imagemill_airflow.job_process import JobProcess

TAIL_LINES = 20
"""Last lines of the job that go into the error of one that did not say itself why it failed."""

LINE_CHARACTERS = 1_000
"""What the task's log shows of one line; Beam writes all its options into one."""

_LEVEL = re.compile("DEBUG|INFO|WARNING|ERROR|CRITICAL")


class JobCrashed(RuntimeError):
    """The job ended without saying why: a bug, which no retry cures.

    Attributes:
        lines: The last that it said.
    """

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lines = tuple(lines)


class BeamJobHook(BeamHook):
    """A BeamHook whose child cannot block on an unread pipe, outlive its task, or fail without a reason.

    The provider's own launch first imports Beam in another process, only to log its version; this one does not.
    """

    def __init__(self, runner: str) -> None:
        super().__init__(runner)
        self._job: JobProcess | None = None
        self._verdict: list[str] = []
        self._level = logging.INFO
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    @override
    def start_python_pipeline(
        self,
        variables: dict[str, Any],
        py_file: str,
        py_options: list[str],
        py_interpreter: str = "python3",
        py_requirements: list[str] | None = None,
        py_system_site_packages: bool = False,
        process_line_callback: Callable[[str], None] | None = None,
        is_dataflow_job_id_exist_callback: Callable[[], bool] | None = None,
    ) -> None:
        """Runs the job to its end; on Dataflow, until its id is known.

        Raises:
            ImagemillError: The job failed; the class is the family that it named.
            JobCrashed: The job failed and named none.
        """
        if py_requirements is not None:
            raise CallerError(
                "the job runs in the installed environment; ship packages by the runner's options instead"
            )
        labels = (
            {"labels": [f"{key}={value}" for key, value in variables["labels"].items()]}
            if "labels" in variables
            else {}
        )
        options = beam_options_to_args(variables | labels)
        self._launch(
            [py_interpreter, *py_options, py_file, f"--runner={self.runner}", *options],
            environment=python_environment(Path(py_file).parents[1]),
            on_line=process_line_callback or (lambda _line: None),
            is_known=is_dataflow_job_id_exist_callback or (lambda: False),
        )

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Ends the launched job with all that it started, if there is one."""
        if self._job is not None:
            self._job.stop(grace_seconds=grace_seconds)

    def _launch(
        self,
        command: Sequence[str],
        *,
        environment: dict[str, str],
        on_line: Callable[[str], None],
        is_known: Callable[[], bool],
    ) -> None:
        self.log.info("Running %s", " ".join(command))
        try:
            self._job = job = JobProcess(command, environment=environment)
            lines = job.lines()
            for line in lines:
                self._tell(line)
                on_line(line)
                if is_known():
                    # The job lives on Dataflow from here; its launcher ends by itself and must not block on the pipe.
                    threading.Thread(target=deque, args=(lines, 0), name="drain-job", daemon=True).start()
                    return
        except BaseException:
            self.stop()
            raise
        if exit_code := job.wait():
            raise failure(exit_code, [*self._verdict, *self._tail])

    def _tell(self, line: str) -> None:
        # A traceback of any length may follow the verdict.
        (self._verdict if line.startswith(FAILURE) else self._tail).append(line)
        # A line without a level, such as one of a traceback, belongs to the one before it.
        if level := _LEVEL.match(line):
            self._level = logging.getLevelNamesMapping()[level.group()]
        self.log.log(self._level, "%s", _shortened(line))


def _shortened(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]}… ({len(line):,} characters)"


def failure(exit_code: int, lines: Sequence[str]) -> Exception:
    """Returns the error that stands for a failed job.

    Args:
        exit_code: The job's; negative is the signal that ended it.
        lines: Its last lines, and before them the one that names the family, where the job lived to say it.
    """
    for line in lines:
        if error := read_failure_line(line):
            return error
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        memory = "; the machine may have run out of memory" if name == "SIGKILL" else ""
        return TemporaryFault(f"the job was ended by {name}{memory}")
    return JobCrashed(f"the job crashed with exit code {exit_code}; its last lines:\n" + "\n".join(lines), lines)
