"""What was told and is not over yet, so that the end of it is told too, and nothing is told twice.

Each standing alarm is an Airflow Variable: tasks and the DAG processor alike can reach it, and a person can see and
delete it (*Admin, Variables*).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from airflow.sdk import Variable
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

AlarmKind = Literal["refresh", "watch", "stale"]
"""What is wrong: the refresh, the watch over its freshness, or the dataset's age."""


class Alarm(BaseModel):
    """An alarm that stands."""

    model_config = ConfigDict(frozen=True)

    headline: str
    task_id: str
    run_id: str
    since: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


def variable(dataset: str, kind: AlarmKind) -> str:
    """Returns the name of the variable that holds an alarm."""
    return f"imagemill_alarm_{kind}_{dataset}"


def raise_alarm(dataset: str, kind: AlarmKind, alarm: Alarm) -> bool:
    """Keeps an alarm and tells whether it is new; of several in a row the first one stays, since when it is wrong."""
    new = standing(dataset, kind) is None
    if new:
        Variable.set(variable(dataset, kind), alarm.model_dump_json(), description="imagemill: told, and not over yet")
    return new


def standing(dataset: str, kind: AlarmKind) -> Alarm | None:
    """Returns the alarm that stands, if one does."""
    kept = Variable.get(variable(dataset, kind), default=None)
    try:
        return Alarm.model_validate_json(kept) if kept else None
    except ValidationError:
        return None  # somebody edited it: the next alarm takes its place


def end_alarm(dataset: str, kind: AlarmKind) -> Alarm | None:
    """Forgets an alarm and returns it, if one stood."""
    if ended := standing(dataset, kind):
        Variable.delete(variable(dataset, kind))
    return ended
