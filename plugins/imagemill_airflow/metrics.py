"""Numbers for dashboards, through Airflow's own metrics: StatsD or OpenTelemetry, whichever Airflow is set up for.

Names are `imagemill.<dataset>.<measure>`, so that plain StatsD, which knows no tags, tells datasets apart; where tags
are known, `dataset` is one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from airflow.sdk.observability import stats


def gauge(dataset: str, measure: str, value: float) -> None:
    """Sends a number as it is now."""
    stats.gauge(f"imagemill.{dataset}.{measure}", value, tags={"dataset": dataset})


def gauges(dataset: str, values: Mapping[str, float]) -> None:
    """Sends several numbers."""
    for measure, value in values.items():
        gauge(dataset, measure, value)


def version_age(dataset: str, *, published_at: datetime, now: datetime) -> float:
    """Sends the age of the published version, and returns it in seconds."""
    seconds = (now - published_at).total_seconds()
    gauge(dataset, "version_age_seconds", seconds)
    return seconds


@contextmanager
def timed(dataset: str, step: str) -> Iterator[None]:
    """Sends how long a step took, whether it succeeded or not; without what Airflow spends around it."""
    started = time.monotonic()
    try:
        yield
    finally:
        milliseconds = (time.monotonic() - started) * 1000
        stats.timing(f"imagemill.{dataset}.{step}_ms", milliseconds, tags={"dataset": dataset})
