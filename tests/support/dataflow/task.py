"""One task that converts on Dataflow, as a process of its own: `python -m tests.support.dataflow.task FOLDER`.

The operator, the provider and the launcher are the real ones; what Airflow's task runner does around them is done here:
SIGTERM and a time-out (SIGALRM) become `on_kill`, a deferral runs the trigger and comes back, and what Airflow's
database would keep is a file, so that it outlives a SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.timeout import timeout
from airflow.triggers.base import BaseTrigger, TriggerEvent

from imagemill.errors import family_of
from imagemill.spec import DatasetSpec
from imagemill_airflow.operators import ConvertImagesOperator
from imagemill_airflow.trigger_form import trigger_form

Json = dict[str, Any]

TASK, OUTCOME = "task.json", "outcome.json"


class Kept:
    """A mapping in a file, with the methods of Airflow's task state store."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> Json:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.all().get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._write(self.all() | {key: value})

    def delete(self, key: str) -> None:
        self._write({name: value for name, value in self.all().items() if name != key})

    def _write(self, values: Json) -> None:
        partial = self._path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(values))
        partial.rename(self._path)


@dataclass(frozen=True)
class Instance:
    """What the operator uses of a task instance."""

    xcom: Kept
    run_id: str
    dag_id: str = "refresh_dots"
    task_id: str = "convert_images"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 4
    start_date: datetime = field(default_factory=lambda: datetime.now(UTC))

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcom.set(key, value)

    def xcom_pull(self, **_: Any) -> None:
        """Returns what other tasks have said: there are none."""


def write_task(
    folder: Path,
    spec: DatasetSpec,
    plan: Mapping[str, Any],
    *,
    run_id: str = "one",
    deferrable: bool = False,
    try_number: int = 1,
) -> None:
    """Prepares a folder for `main`."""
    how = {"run_id": run_id, "deferrable": deferrable, "try_number": try_number}
    task = {"spec": spec.model_dump(mode="json"), "plan": plan, **how}
    (folder / TASK).write_text(json.dumps(task))


def run_task(folder: Path) -> Json:
    """Runs one try and returns what the task returns.

    Raises:
        Exception: Whatever the task raises.
    """
    task = json.loads((folder / TASK).read_text())
    spec = DatasetSpec.model_validate(task["spec"])
    operator = ConvertImagesOperator(
        task_id=Instance.task_id,
        spec=spec,
        plan=task["plan"],
        deferrable=task["deferrable"],
        execution_timeout=timedelta(hours=1),
    )
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    context: Any = {
        "ti": Instance(Kept(folder / "xcom.json"), task["run_id"], try_number=task["try_number"]),
        "task_state_store": Kept(folder / "state.json"),
        "params": {name: param.resolve() for name, param in trigger_form(spec).items()},
    }
    try:
        with timeout(operator.execution_timeout.total_seconds()):
            return operator.execute(context)
    except AirflowTaskTimeout:
        operator.on_kill()
        raise
    except TaskDeferred as deferred:
        event = asyncio.run(first_event(made_again(deferred.trigger)))
        return getattr(operator, deferred.method_name)(context, event=event.payload)


def made_again(trigger: BaseTrigger) -> BaseTrigger:
    """Returns the trigger as another process would make it: from JSON."""
    _, arguments = trigger.serialize()
    return type(trigger)(**json.loads(json.dumps(arguments)))


async def first_event(trigger: BaseTrigger) -> TriggerEvent:
    """Runs a trigger until it fires."""
    async for event in trigger.run():
        return event
    raise RuntimeError("the trigger ended without an event")


def main(folder: Path) -> int:
    try:
        outcome: Json = {"result": run_task(folder)}
    except (Exception, AirflowTaskTimeout) as error:
        outcome = {"family": family_of(error), "kind": type(error).__name__, "message": str(error)}
    (folder / OUTCOME).write_text(json.dumps(outcome))
    return 0 if "result" in outcome else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
