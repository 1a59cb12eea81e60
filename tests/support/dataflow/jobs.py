"""The jobs of the stand-in: what Dataflow's API tells of each."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.support.dataflow.troubles import JobTrouble

Json = dict[str, Any]

TERMINAL = ("JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
IMPORTANCES = (
    "JOB_MESSAGE_DEBUG",
    "JOB_MESSAGE_DETAILED",
    "JOB_MESSAGE_BASIC",
    "JOB_MESSAGE_WARNING",
    "JOB_MESSAGE_ERROR",
)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class Job:
    """One job. Its state changes under the lock of the book that it is in.

    Attributes:
        told: What the launcher sent.
        trouble: What becomes of it.
        metrics: Committed and tentative counters by (namespace, name, step).
    """

    project: str
    region: str
    told: Json
    trouble: JobTrouble
    id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d_%H_%M_%S}-{uuid4().int % 10**19}")
    created: str = field(default_factory=now)
    state: str = "JOB_STATE_PENDING"
    changed: str = field(default_factory=now)
    messages: list[Json] = field(default_factory=list)
    committed: dict[tuple[str, str, str], int] = field(default_factory=dict)
    tentative: dict[tuple[str, str, str], int] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return str(self.told["name"])

    @property
    def is_live(self) -> bool:
        return self.state not in TERMINAL

    @property
    def options(self) -> Json:
        """Returns the pipeline options that it was launched with."""
        return dict(self.told["environment"]["sdkPipelineOptions"].get("options", {}))

    def enter(self, state: str) -> None:
        if self.is_live:
            self.state, self.changed = state, now()

    def cancel(self) -> None:
        if self.is_live:
            self.enter("JOB_STATE_CANCELLING")
            self.cancelled.set()

    def say(self, text: str, importance: str = "JOB_MESSAGE_BASIC") -> None:
        number = len(self.messages)
        self.messages.append(
            {"id": f"{number:020}", "time": now(), "messageText": text, "messageImportance": importance}
        )

    def summary(self) -> Json:
        return {
            "id": self.id,
            "projectId": self.project,
            "location": self.region,
            "name": self.name,
            "type": "JOB_TYPE_BATCH",
            "currentState": self.state,
            "currentStateTime": self.changed,
            "createTime": self.created,
            "startTime": self.created,
            "labels": self.told.get("labels", {}),
            "clientRequestId": self.told.get("clientRequestId", ""),
        }

    def metrics(self) -> Json:
        updates = [
            {
                "name": {
                    "origin": "user",
                    "name": name,
                    "context": {"namespace": namespace, "step": step} | ({"tentative": "true"} if tentative else {}),
                },
                "scalar": value,
                "updateTime": now(),
            }
            for tentative, counters in ((False, self.committed), (True, self.tentative))
            for (namespace, name, step), value in sorted(counters.items())
        ]
        return {"metricTime": now(), "metrics": updates}


class JobBook:
    """All jobs, the oldest first. The caller holds `lock` where it reads and then writes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.jobs: list[Job] = []
        self.most_live: dict[str, int] = {}

    def add(self, job: Job) -> None:
        self.jobs.append(job)
        live = sum(each.is_live for each in self.jobs if each.name == job.name)
        self.most_live[job.name] = max(live, self.most_live.get(job.name, 0))

    def get(self, job_id: str) -> Job | None:
        return next((job for job in self.jobs if job.id == job_id), None)

    def named(self, name: str, *, only: str = "ALL") -> list[Job]:
        """Returns jobs, the newest first, as the service lists them."""
        found = [job for job in reversed(self.jobs) if not name or job.name == name]
        return [job for job in found if only not in ("ACTIVE", "TERMINATED") or job.is_live == (only == "ACTIVE")]
