"""A person between validation and publication."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from imagemill.spec import DatasetSpec
from imagemill_airflow.alerts import ApprovalAlert, hold, refusal_notice
from imagemill_airflow.explanations import approval_request
from imagemill_airflow.google_connection import google_connection
from imagemill_airflow.run_settings import kept
from imagemill_airflow.trigger_form import optional_text

if TYPE_CHECKING:
    from airflow.sdk import Context, Param

log = logging.getLogger(__name__)

REASON = "reason"


def answer_form() -> dict[str, Param]:
    """Returns what a person is asked besides yes or no: the operator's `params`."""
    why = "Why you approve or reject it. It goes into the history, and into the alert."
    return {REASON: optional_text(title="Reason", description=why)}


class Answer(NamedTuple):
    """What a person said to a version."""

    approved: bool
    by: str
    reason: str


class ApprovePublicationOperator(ApprovalOperator):
    """Asks a person whether a validated version may be published, and records the answer in its `run.json`.

    :param spec: The dataset.
    :param plan: What `plan_conversion` returned (templated).
    :param validated: What `validate_records` returned (templated).
    """

    template_fields = (*ApprovalOperator.template_fields, "plan", "validated")

    def __init__(self, *, spec: DatasetSpec, plan: Any, validated: Any, **kwargs: Any) -> None:
        super().__init__(
            subject=f"Publish the new version of {spec.name}?",
            response_timeout=timedelta(hours=spec.approval_hours),
            notifiers=[ApprovalAlert(spec)],
            **kwargs,
        )
        self.spec = spec
        self.plan = plan
        self.validated = validated

    def execute(self, context: Context) -> Any:
        """Parks the task until somebody answers; a rehearsal asks nobody."""
        skip_rehearsal(self.plan)
        spec = kept(self.spec, context)
        if spec.approval == "none":
            raise AirflowSkipException(f"{self.plan['version']} needs nobody's approval")
        if _is_published(spec, self.plan):
            # Somebody has cleared the task of a run that is over. What is served is taken back by a rollback.
            raise AirflowSkipException(f"{self.plan['version']} is published; nobody is asked again")
        self.subject, self.body = _request(spec, self.plan, self.validated)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Records the answer, and tells of a refusal; without an approval nothing is published."""
        if "error" in event:
            if event["error_type"] == "timeout":
                _record(self.plan, "timed out", by="", reason=f"nobody answered in {self.spec.approval_hours:g} hours")
            return super().execute_complete(context, event)
        answer = _answer(event)
        _record(self.plan, "approved" if answer.approved else "rejected", by=answer.by, reason=answer.reason)
        if not answer.approved:
            notice = refusal_notice(self.spec, context, by=answer.by, reason=answer.reason)
            hold(notice, self.spec.alerts, context, alarm="refresh")
        return super().execute_complete(context, event)


def answer_of(ti: Any) -> Answer | None:
    """Returns what a person said to the run's version; None where nobody was asked."""
    given = ti.xcom_pull(task_ids="approve")
    return _answer(given) if isinstance(given, Mapping) else None


def skip_rehearsal(plan: Mapping[str, Any]) -> None:
    """Keeps a limited run from being published.

    Raises:
        AirflowSkipException: The run converted only some of the rows.
    """
    if plan["limited"]:
        reason = f"{plan['version']} is a rehearsal; it is never published"
        log.info(reason)
        raise AirflowSkipException(reason)


def _answer(event: Mapping[str, Any]) -> Answer:
    user = event.get("responded_by_user") or {}
    name = user.get("name") if isinstance(user, Mapping) else getattr(user, "name", None)
    reason = str((event.get("params_input") or {}).get(REASON) or "").strip()
    return Answer(event["chosen_options"] == [ApprovalOperator.APPROVE], name or "somebody", reason)


@google_connection()
def _is_published(spec: DatasetSpec, plan: Mapping[str, Any]) -> bool:
    from imagemill.catalog import Catalog

    current = Catalog(spec.locations.output).current()
    return current is not None and current.version == plan["version"]


@google_connection()
def _request(spec: DatasetSpec, plan: Mapping[str, Any], validated: Mapping[str, Any]) -> tuple[str, str]:
    from imagemill.quality.report import REPORT, parse_report
    from imagemill.storage import open_store
    from imagemill.version.run_record import read_run

    store = open_store(plan["version_uri"])
    report = parse_report(store.read(REPORT), where=f"{plan['version_uri']}/{REPORT}")
    record = read_run(store)
    return approval_request(spec, validated, report, record)


@google_connection()
def _record(
    plan: Mapping[str, Any], verdict: Literal["approved", "rejected", "timed out"], *, by: str, reason: str
) -> None:
    from imagemill.version.run_record import record_approval

    record_approval(plan["version_uri"], verdict=verdict, by=by, reason=reason, at=datetime.now(UTC))
