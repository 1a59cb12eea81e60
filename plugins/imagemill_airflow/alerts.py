"""Tells a person of a failure that retries did not cure: what, why, what is still being served, and what to do."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from airflow.configuration import conf
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier

from imagemill.errors import ImagemillError
from imagemill.spec import DatasetSpec
from imagemill_airflow.explanations import TASKS

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

LOST = "the task's process was lost: killed, out of memory, or its machine went away"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureNotice:
    """What a person needs to know of one failed task."""

    dataset: str
    task: str
    reason: str
    served: str
    advice: str
    log_url: str
    run_id: str
    tries: int

    @property
    def subject(self) -> str:
        first = next(iter(self.reason.splitlines()), "")
        return f"[imagemill] {self.dataset}: {self.task} failed: {first[:100]}"

    @property
    def text(self) -> str:
        return (
            f"{self.subject}\nWhy: {self.reason}\nStill served: {self.served}\n"
            f"What to do: {self.advice}\nLog: {self.log_url}"
        )

    @property
    def html(self) -> str:
        return _mail_template().render(notice=self)


def failure_notice(spec: DatasetSpec, context: Context) -> FailureNotice:
    """Returns the notice of the failure that `context` is about."""
    ti = context["ti"]
    error = context.get("exception")
    return FailureNotice(
        dataset=spec.name,
        task=ti.task_id,
        reason=(str(error) or type(error).__name__) if error is not None else LOST,
        served=still_served(spec),
        advice=TASKS.get(ti.task_id, ("", "Open the log."))[1],
        # A callback that runs outside the task's process has another kind of task instance, without the link.
        log_url=getattr(ti, "log_url", ""),
        run_id=ti.run_id,
        tries=ti.try_number,
    )


def still_served(spec: DatasetSpec) -> str:
    """Says which version training goes on reading."""
    from imagemill.catalog import Catalog

    try:
        current = Catalog(spec.locations.output).current()
    except ImagemillError as error:
        return f"unknown ({error})"
    return f"{current.version}, {current.uri}" if current else "nothing: this dataset was never published"


class FailureLog(BaseNotifier):
    """Writes the notice to the log, where log-based alerting finds it."""

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__()
        self.spec = spec

    def notify(self, context: Context) -> None:
        self.log.error("%s", failure_notice(self.spec, context).text)


class FailureMail(SmtpNotifier):
    """Mails the notice through Airflow's SMTP connection.

    Airflow logs what a notifier raises and goes on, so a mail server that is down fails no task.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        super().__init__(
            to=list(spec.alerts.email),
            smtp_conn_id=spec.alerts.smtp_conn_id,
            from_email=conf.get("email", "from_email", fallback=None),
        )
        self.spec = spec

    def notify(self, context: Context) -> None:
        if isinstance(context.get("exception"), KeyboardInterrupt):
            return  # whoever stopped the run knows
        # Set here and not templated: a reason may hold braces that are nobody's template.
        notice = failure_notice(self.spec, context)
        self.subject, self.html_content = notice.subject, notice.html
        super().notify(context)


def on_failure(spec: DatasetSpec) -> Sequence[BaseNotifier]:
    """Returns the failure callbacks of a dataset's tasks."""
    return [FailureLog(spec), *([FailureMail(spec)] if spec.alerts.email else [])]


@functools.cache
def _mail_template() -> jinja2.Template:
    import jinja2

    source = resources.files("imagemill_airflow").joinpath("templates", "failure_mail.html.jinja").read_text("utf-8")
    return jinja2.Environment(autoescape=True).from_string(source)
