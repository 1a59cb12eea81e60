"""Turns what happens to a task into notices.

Told are failures that retries did not cure, candidates held back, recoveries, publications, and versions that wait for
a person.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.configuration import conf
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseNotifier

from imagemill.errors import ImagemillError, UnusableData
from imagemill.spec import DatasetSpec
from imagemill.spec.alerts import Alerts
from imagemill_airflow.alarms import Alarm, AlarmKind, end_alarm, raise_alarm
from imagemill_airflow.channels import tell
from imagemill_airflow.explanations import TASKS
from imagemill_airflow.google_connection import google_connection
from imagemill_airflow.links import DataflowLink
from imagemill_airflow.notices import Notice

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

LOST = "the task's process was lost: killed, out of memory, or its machine went away"

_LAST = ("publish", "prune_versions")
"""Tasks whose success says that a refresh did what it is for."""

CANDIDATE_KEPT = "The candidate stays in its folder for inspection; training goes on with what is still served."


class FailureAlert(BaseNotifier):
    """Tells of a task that failed for good, and keeps that as an alarm until a run is good again."""

    def __init__(self, spec: DatasetSpec, alarm: AlarmKind = "refresh") -> None:
        super().__init__()
        self.spec, self.alarm = spec, alarm

    def notify(self, context: Context) -> None:
        if isinstance(context.get("exception"), KeyboardInterrupt):
            return  # whoever stopped the run knows
        hold(failure_notice(self.spec, context), self.spec.alerts, context, alarm=self.alarm)


class SuccessAlert(BaseNotifier):
    """Tells of a publication, and of the end of an alarm."""

    def __init__(self, spec: DatasetSpec, alarm: AlarmKind = "refresh") -> None:
        super().__init__()
        self.spec, self.alarm = spec, alarm

    def notify(self, context: Context) -> None:
        task_id, result = context["ti"].task_id, own_result(context)
        published = task_id == "publish"
        if published and result.get("previous") != result.get("version"):
            tell(publication_notice(self.spec, result, context), self.spec.alerts, context)
            self._end("stale", context)
        if self.alarm == "watch" or task_id in _LAST or result.get("action") == "unchanged":
            self._end(self.alarm, context)

    def _end(self, kind: AlarmKind, context: Context) -> None:
        if ended := end_alarm(self.spec.name, kind):
            tell(recovery_notice(self.spec, ended, context), self.spec.alerts, context)


class ApprovalAlert(BaseNotifier):
    """Tells that a version waits for a person."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__()
        self.spec = spec

    def notify(self, context: Context) -> None:
        tell(approval_notice(self.spec, context), self.spec.alerts, context)


def hold(notice: Notice, alerts: Alerts, context: Context, *, alarm: AlarmKind) -> None:
    """Tells of something wrong, and keeps it as an alarm until it is over.

    Each run that fails is told. What the watch finds anew every hour is told once.
    """
    ti = context["ti"]
    new = True
    try:
        kept = Alarm(headline=notice.headline, task_id=ti.task_id, run_id=ti.run_id)
        new = raise_alarm(notice.dataset, alarm, kept)
    finally:
        if new or alarm == "refresh":
            tell(notice, alerts, context)


def failure_notice(spec: DatasetSpec, context: Context) -> Notice:
    """Returns the notice of the failure that `context` is about."""
    ti, error = context["ti"], context.get("exception")
    why = (str(error) or type(error).__name__) if error is not None else LOST
    version = _version(context)
    tries = f" (try {ti.try_number})" if ti.try_number > 1 else ""
    notice = Notice(
        event="failure",
        dataset=spec.name,
        headline=f"{ti.task_id} failed{tries}: {_first(why)}",
        why=why,
        served=still_served(spec),
        advice=TASKS.get(ti.task_id, ("", "Open the log."))[1],
        links=links(context),
        facts={"task": ti.task_id, "run": ti.run_id, "tries": ti.try_number, "version": version},
    )
    if ti.task_id == "approve" and isinstance(error, HITLTimeoutError):
        return replace(
            notice,
            event="rejected",
            headline=f"{version} was not approved in time",
            why=f"Nobody answered within {spec.approval_hours:g} hours.",
            advice=f"Look at the report and trigger a run: it asks again, and converts nothing anew. {CANDIDATE_KEPT}",
        )
    if ti.task_id == "validate_records" and isinstance(error, UnusableData):
        return replace(
            notice,
            event="rejected",
            headline=f"the candidate {version} was rejected by validation",
            advice=f"Open the report, then fix the input or the spec's limits. {CANDIDATE_KEPT}",
        )
    return notice


def refusal_notice(spec: DatasetSpec, context: Context, *, by: str, reason: str) -> Notice:
    """Returns the notice of a version that a person held back."""
    version = _version(context)
    return Notice(
        event="rejected",
        dataset=spec.name,
        headline=f"{version} was refused by {by}",
        why=reason or "No reason was given.",
        served=still_served(spec),
        advice=f"Mend what was found, then trigger a run. {CANDIDATE_KEPT}",
        links=links(context),
        facts={"version": version, "by": by, "run": context["ti"].run_id},
    )


def recovery_notice(spec: DatasetSpec, ended: Alarm, context: Context) -> Notice:
    """Returns the notice of an alarm's end."""
    ti = context["ti"]
    return Notice(
        event="recovery",
        dataset=spec.name,
        headline=f"good again: {_outcome(ti.task_id, own_result(context))}",
        why=f"Since {ended.since:%Y-%m-%d %H:%M} UTC this stood: {ended.headline}",
        served=still_served(spec),
        links=links(context),
        facts={"run": ti.run_id, "since": ended.since.isoformat(), "was": ended.headline},
    )


def publication_notice(spec: DatasetSpec, published: Mapping[str, Any], context: Context) -> Notice:
    """Returns the notice of a new version."""
    counted = ("rows", "records", "rejected", "duplicates", "shards")
    numbers = {name: published[name] for name in counted}
    return Notice(
        event="publication",
        dataset=spec.name,
        headline=f"{published['version']} is published",
        why="{rows:,} rows became {records:,} records in {shards:,} shards, with {rejected:,} rejects and "
        "{duplicates:,} duplicates.".format(**numbers),
        served=published["previous"] or "nothing: this is the first version",
        advice=f"{published['path']}, which `imagemill path {spec.name}` names.",
        links=links(context),
        facts={name: published[name] for name in ("version", "path", "previous", "fingerprint")} | numbers,
    )


def approval_notice(spec: DatasetSpec, context: Context) -> Notice:
    """Returns the notice of a version that waits for a person."""
    version = _version(context)
    where = ApprovalOperator.generate_link_to_ui_from_context(context=context)
    return Notice(
        event="approval",
        dataset=spec.name,
        headline=f"{version} waits for a person",
        why=f"It passed validation; it is published only if somebody approves it within {spec.approval_hours:g} hours.",
        served=still_served(spec),
        advice="Look at the report, then approve or reject it.",
        links={"Approve or reject": where, **links(context)},
        facts={"version": version, "run": context["ti"].run_id},
    )


def still_served(spec: DatasetSpec) -> str:
    """Says which version training goes on reading; no alert is lost because nobody can look."""
    from imagemill.catalog import Catalog

    try:
        with google_connection():
            current = Catalog(spec.locations.output).current()
    except ImagemillError as error:
        return f"unknown ({error})"
    return f"{current.version}, {current.uri}" if current else "nothing: this dataset was never published"


def links(context: Context) -> dict[str, str]:
    """Returns where to look: log, run, job and report, as far as there are any yet."""
    ti = context["ti"]
    run = f"{conf.get('api', 'base_url', fallback='http://localhost:8080').rstrip('/')}/dags/{ti.dag_id}/runs/"
    # A callback that runs outside the task's process has another kind of task instance, without the link to its log.
    found = {"Log": getattr(ti, "log_url", ""), "Run": run + quote(ti.run_id, safe="")}
    for link in getattr(context.get("task"), "operator_extra_links", ()):
        try:
            found[link.name] = link.get_link(operator=context["task"], ti_key=ti)
        except Exception as error:  # no alert is lost for want of a link
            log.warning("the link %s of %s is not known: %s", link.name, ti.task_id, error)
    plan = pulled(context, "plan_conversion")
    if plan.get("action") == "convert" and ti.task_id in ("validate_records", "approve", "publish"):
        found[DataflowLink.name] = ti.xcom_pull(task_ids="convert_images", key=DataflowLink.key) or ""
        found["Report"] = f"{plan['version_uri']}/validation.html"
    return {name: url for name, url in found.items() if url}


def own_result(context: Context) -> Mapping[str, Any]:
    """Returns what the task itself has returned."""
    return pulled(context, context["ti"].task_id)


def pulled(context: Context, task_id: str) -> Mapping[str, Any]:
    """Returns what a task of the run has returned; nothing where it has not come so far."""
    found = context["ti"].xcom_pull(task_ids=task_id)
    return found if isinstance(found, Mapping) else {}


def on_failure(spec: DatasetSpec) -> Sequence[BaseNotifier]:
    """Returns the failure callbacks of a dataset's tasks."""
    return [FailureAlert(spec)]


def on_success(spec: DatasetSpec) -> Sequence[BaseNotifier]:
    """Returns the success callbacks of a dataset's tasks."""
    return [SuccessAlert(spec)]


def _version(context: Context) -> str:
    return str(pulled(context, "plan_conversion").get("version", ""))


def _outcome(task_id: str, result: Mapping[str, Any]) -> str:
    if task_id == "publish":
        return f"{result['version']} is published"
    if result.get("action") == "unchanged":
        return "the run found nothing changed"
    return f"{task_id} has succeeded"


def _first(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    return line if len(line) <= 100 else f"{line[:99]}…"
