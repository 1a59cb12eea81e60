"""Waits for a job on Dataflow in the triggerer, so that the task gives its worker slot back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from imagemill.errors import family_of
from imagemill_airflow.dataflow.api import DataflowJobs, JobPlace
from imagemill_airflow.dataflow.watch import Ending, Watcher


class DataflowJobTrigger(BaseTrigger):
    """Fires when the job has ended, or cannot be watched any longer; it never fails, so that the task learns why.

    Airflow runs `on_kill` when somebody clears, fails or marks the waiting task, and not when the triggerer stops:
    then another one goes on watching.

    :param place: Where the job is, as `JobPlace.to_json` says it.
    :param job_id: The job.
    :param plan: Planned rows and shards, for the log.
    :param poll_seconds: Pause between two looks.
    :param deadline: Moment, in ISO 8601, at which the job is cancelled; None for never.
    """

    def __init__(
        self,
        *,
        place: Mapping[str, Any],
        job_id: str,
        plan: Mapping[str, Any],
        poll_seconds: float,
        deadline: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own, without types
        self.place, self.job_id, self.plan = dict(place), job_id, dict(plan)
        self.poll_seconds, self.deadline = poll_seconds, deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns what the trigger is made again from, in another process."""
        names = ("place", "job_id", "plan", "poll_seconds", "deadline")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watches the job; the event is an `Ending`, or the error that ended the watch."""
        try:
            ending = await self._watch()
        except Exception as error:
            # A trigger that fails leaves a job that nobody watches, and a task that cannot say why.
            self.log.exception("the job %s is no longer watched", self.job_id)
            told: dict[str, Any] = {"job_id": self.job_id, "family": family_of(error), "error": str(error)}
        else:
            told = asdict(ending)
        yield TriggerEvent(told)  # type: ignore[no-untyped-call]  # Airflow's own, without types

    async def on_kill(self) -> None:
        """Cancels the job."""
        self.log.warning("cancelling the Dataflow job %s: its task was stopped", self.job_id)
        await asyncio.to_thread(self._cancel)

    async def _watch(self) -> Ending:
        # The provider's client blocks, so all of it runs in a thread: one at a time, as it needs.
        with closing(await asyncio.to_thread(self._open)) as jobs:
            watcher = Watcher(jobs, self.job_id, plan=self.plan)
            while (ending := await asyncio.to_thread(watcher.look)) is None:
                if self.deadline and datetime.now(UTC) >= datetime.fromisoformat(self.deadline):
                    await asyncio.to_thread(jobs.cancel, self.job_id)
                    return Ending(job_id=self.job_id, state="TIMEOUT")
                await asyncio.sleep(self.poll_seconds)
            return ending

    def _cancel(self) -> None:
        with closing(self._open()) as jobs:
            jobs.cancel(self.job_id)

    def _open(self) -> DataflowJobs:
        return DataflowJobs(JobPlace.from_json(self.place))
