"""Watches the age of what training reads: a schedule that has stopped raises no error of its own."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.sdk import task

from imagemill.spec import DatasetSpec
from imagemill_airflow import metrics
from imagemill_airflow.alerts import hold, still_served
from imagemill_airflow.google_connection import google_connection
from imagemill_airflow.notices import Notice

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

FRESHNESS_DOC = """\
Compares the age of the published version with the spec's `alerts.stale_after_days`, and tells once when it is too old.

**If it fails:** the spec or the dataset's folder could not be read; the log names the reason.
"""


@task(doc_md=FRESHNESS_DOC, multiple_outputs=False)
@google_connection()
def check_freshness(spec_path: str, **context: Any) -> dict[str, Any]:
    """Tells of a dataset without a new version for too long; once, until there is one."""
    from imagemill.spec.file import find_spec

    spec, now = find_spec(spec_path), datetime.now(UTC)
    published_at = last_publication(spec)
    if published_at is None:
        log.warning("%s was never published; its age is not known", spec.name)
        return {"published_at": None, "stale": False}
    age = timedelta(seconds=metrics.version_age(spec.name, published_at=published_at, now=now))
    stale = spec.alerts.stale_after_days is not None and age > timedelta(days=spec.alerts.stale_after_days)
    if stale:
        told: Context = context  # type: ignore[assignment]  # a TypedDict, which keyword arguments are not
        hold(stale_notice(spec, published_at, age), spec.alerts, told, alarm="stale")
    log.info("%s: the last new version came %s, %.1f days ago", spec.name, published_at, age / timedelta(days=1))
    return {"published_at": published_at.isoformat(), "stale": stale}


def last_publication(spec: DatasetSpec) -> datetime | None:
    """Returns when the newest version was published; a rollback makes nothing new."""
    from imagemill.catalog import Catalog

    history = Catalog(spec.locations.output).history()
    return next((entry.at for entry in history if entry.action == "publish"), None)


def stale_notice(spec: DatasetSpec, published_at: datetime, age: timedelta) -> Notice:
    """Returns the notice of a missed freshness target."""
    target, days = spec.alerts.stale_after_days, age / timedelta(days=1)
    dag = f"refresh_{spec.name}"
    runs = f"{conf.get('api', 'base_url', fallback='http://localhost:8080').rstrip('/')}/dags/{quote(dag)}"
    return Notice(
        event="stale",
        dataset=spec.name,
        headline=f"no new version for {days:.0f} days",
        why=f"The last one was published on {published_at:%Y-%m-%d %H:%M} UTC, {days:.1f} days ago; "
        f"the spec's target is {target:g} days.",
        served=still_served(spec),
        advice=f"Look at the runs of {dag}. Red ones have their own reason. Green ones that found nothing changed mean "
        "that the source brings nothing new. Where there are none, the DAG is paused, or its schedule has stopped.",
        links={"Runs": f"{runs}/runs", "DAG": runs},
        facts={"published_at": published_at.isoformat(), "age_days": round(days, 2), "target_days": target},
    )
