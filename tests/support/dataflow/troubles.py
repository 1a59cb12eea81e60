"""How the stand-in has a bad day, by rule: what its API answers, and what becomes of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Method = Literal["create", "list", "get", "update", "messages", "metrics"]

CPU_QUOTA = (
    "Startup of the worker pool in zone {zone} failed to bring up any of the desired 1 workers. QUOTA_EXCEEDED: "
    "Instance '{name}-harness-x1' creation failed: Quota 'CPUS' exceeded.  Limit: 0.0 in region {region}."
)
NO_MACHINES = (
    "Startup of the worker pool in zone {zone} failed to bring up any of the desired 1 workers. "
    "ZONE_RESOURCE_POOL_EXHAUSTED: Instance '{name}-harness-x1' creation failed: The zone does not have enough "
    "resources available to fulfill the request. Try a different zone, or try again later."
)
PREEMPTED = (
    "The job failed because a work item has failed 4 times. Look in previous log entries for the cause of each one of "
    "the 4 failures. If the logs only contain generic timeout errors related to accessing external resources, such as "
    "MongoDB, verify that the worker service account has permission to access the resource's subnetwork. The work item "
    "was attempted on these workers: {name}-harness-x1 Root cause: The worker lost contact with the service."
)


@dataclass(frozen=True, kw_only=True)
class ApiTrouble:
    """One kind of bad answer.

    Attributes:
        method: To which requests.
        status: The answer's status, and nothing is done; 0: it is done, and the connection breaks before the answer;
            200: it is done and answered.
        message: What that answer says.
        late_seconds: What is done is answered after this time.
        times: How many requests; -1 for all.
    """

    method: Method
    status: int = 503
    message: str = "The service is currently unavailable."
    late_seconds: float = 0.0
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class JobTrouble:
    """What becomes of the next job that is created, instead of being executed.

    Attributes:
        message: The error that it fails with, in Dataflow's words; "" lets it be executed.
        runs_first: Whether its workers are up before it fails: executed to its middle and then killed.
        held: Whether it waits in state RUNNING, until it is released or cancelled.
        slow_to_cancel: Whether it is in state CANCELLING until it is released.
    """

    message: str = ""
    runs_first: bool = False
    held: bool = False
    slow_to_cancel: bool = False


def to_json(*rules: ApiTrouble | JobTrouble) -> dict[str, list[Mapping[str, Any]]]:
    return {
        "api": [asdict(rule) for rule in rules if isinstance(rule, ApiTrouble)],
        "jobs": [asdict(rule) for rule in rules if isinstance(rule, JobTrouble)],
    }


class Troubles:
    """The rules in force, and how often each API was asked since they were set."""

    def __init__(self) -> None:
        self.set({"api": [], "jobs": []})

    def set(self, rules: Mapping[str, Any]) -> None:
        self._api = [ApiTrouble(**rule) for rule in rules["api"]]
        self._left = [rule.times for rule in self._api]
        self._jobs = [JobTrouble(**rule) for rule in rules["jobs"]]
        self.requests: dict[str, int] = {}

    def strike(self, method: Method) -> ApiTrouble | None:
        """Counts a request and returns the rule that it meets."""
        self.requests[method] = self.requests.get(method, 0) + 1
        for number, rule in enumerate(self._api):
            if rule.method == method and self._left[number]:
                self._left[number] -= 1
                return rule
        return None

    def of_next_job(self) -> JobTrouble:
        return self._jobs.pop(0) if self._jobs else JobTrouble()
