"""Watches a job on Dataflow to its end, for a task that waits and for a trigger that waits in its place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagemill.errors import TemporaryFault
from imagemill_airflow.dataflow.api import DataflowJobs
from imagemill_airflow.progress import Progress

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
"""How long Dataflow may be out of reach before a watcher gives up. The job goes on; the next try joins it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a job ended; made of JSON's types.

    Attributes:
        state: Without Dataflow's prefix: `DONE`.
        errors: The job's own error messages.
        progress: Its last counts.
    """

    job_id: str
    state: str
    errors: list[str] = field(default_factory=list)
    progress: dict[str, int] = field(default_factory=dict)


class Watcher:
    """Looks at a job again and again; each look is logged, and survives a Dataflow that is out of reach for a while."""

    def __init__(
        self,
        jobs: DataflowJobs,
        job_id: str,
        *,
        plan: Mapping[str, Any],
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._jobs, self._id, self._plan, self._on_progress = jobs, job_id, plan, on_progress
        self._seen = time.monotonic()
        self._told = ""

    def look(self) -> Ending | None:
        """Returns how the job ended; None while it has not.

        Raises:
            CallerError: The job may no longer be looked at.
            TemporaryFault: Dataflow has been out of reach for too long.
        """
        try:
            job = self._jobs.get(self._id)
            progress = Progress.of(self._plan, self._jobs.counters(self._id))
            errors = [] if job.is_live else self._jobs.errors(self._id)
        except TemporaryFault as fault:
            if time.monotonic() - self._seen > PATIENCE_SECONDS:
                raise
            log.warning("%s (the job goes on meanwhile)", fault)
            return None
        self._seen = time.monotonic()
        self._tell(f"{job.state}: {progress}")
        self._on_progress(progress)
        if job.is_live:
            return None
        return Ending(job_id=self._id, state=job.state, errors=errors, progress=progress.to_json())

    def _tell(self, line: str) -> None:
        if line != self._told:
            log.info("%s", line)
            self._told = line
