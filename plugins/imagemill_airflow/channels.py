"""The ways to a person: log, mail, Slack, and any webhook. Each is a notifier; none can fail a task, or another one."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from airflow.configuration import conf
from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier
from typing_extensions import override

from imagemill.spec.alerts import Alerts
from imagemill_airflow.notices import Notice

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

log = logging.getLogger(__name__)

SECONDS = 10.0
"""How long a webhook may take to answer."""

PATIENCE_SECONDS = 15.0
"""How long a task waits for its channels; Airflow kills it 20 s after its end (`[core] task_success_overtime`)."""

_ASKING = threading.Lock()
"""Held while Airflow is asked for a connection: where a run is one process (`DAG.test`), only one thread may ask."""

_SLACK = "https://hooks.slack.com/services/"
"""Where a connection of Airflow's type `slackwebhook` leads, whose password is the rest of the URL."""


class ChannelError(Exception):
    """A channel could not be used; the message names its connection, and nothing that is secret."""


class LogChannel(BaseNotifier):
    """Writes the notice to the log, where log-based alerting finds it."""

    def __init__(self, notice: Notice) -> None:
        super().__init__()
        self.notice = notice

    def notify(self, context: Context) -> None:
        say = self.log.error if self.notice.kind == "failure" else self.log.warning
        say("%s", self.notice.text)


class _MailHook(SmtpHook):
    @classmethod
    @override
    def get_connection(cls, conn_id: str) -> Connection:
        with _ASKING:
            return super().get_connection(conn_id)


class MailChannel(SmtpNotifier):
    """Mails the notice through Airflow's SMTP connection."""

    def __init__(self, notice: Notice, alerts: Alerts) -> None:
        super().__init__(
            to=list(alerts.email),
            smtp_conn_id=alerts.smtp_conn_id,
            from_email=conf.get("email", "from_email", fallback=None),
        )
        self.notice = notice

    @cached_property
    @override
    def hook(self) -> SmtpHook:
        return _MailHook(smtp_conn_id=self.smtp_conn_id, auth_type=self.auth_type)

    def notify(self, context: Context) -> None:
        # Set here and not templated: a reason may hold braces that are nobody's template.
        self.subject, self.html_content = self.notice.subject, self.notice.html
        super().notify(context)


class SlackChannel(BaseNotifier):
    """Posts the notice to a Slack incoming webhook."""

    def __init__(self, notice: Notice, conn_id: str) -> None:
        super().__init__()
        self.notice, self.conn_id = notice, conn_id

    def notify(self, context: Context) -> None:
        post(self.conn_id, self.notice.slack)


class WebhookChannel(BaseNotifier):
    """Posts the notice as JSON to whatever URL a connection holds."""

    def __init__(self, notice: Notice, conn_id: str) -> None:
        super().__init__()
        self.notice, self.conn_id = notice, conn_id

    def notify(self, context: Context) -> None:
        post(self.conn_id, self.notice.document)


def channels(notice: Notice, alerts: Alerts) -> Iterator[BaseNotifier]:
    """Yields the notifiers that a spec wants for a notice, beside the log, which always gets it."""
    if notice.event not in alerts.events:
        return
    if alerts.email:
        yield MailChannel(notice, alerts)
    if alerts.slack_conn_id:
        yield SlackChannel(notice, alerts.slack_conn_id)
    if alerts.webhook_conn_id:
        yield WebhookChannel(notice, alerts.webhook_conn_id)


def tell(notice: Notice, alerts: Alerts, context: Context) -> None:
    """Tells a notice on every channel that the spec names; a channel that is down is logged, and no more.

    All channels are used at once, so that one that does not answer keeps none of the others waiting.
    """
    LogChannel(notice).notify(context)
    threads = [
        threading.Thread(target=_notify, args=(channel, notice, context), name=type(channel).__name__, daemon=True)
        for channel in channels(notice, alerts)
    ]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.join(max(0.0, give_up - time.monotonic()))
        if thread.is_alive():
            log.error("%s has not told of %r in %g s", thread.name, notice.headline, PATIENCE_SECONDS)


def _notify(channel: BaseNotifier, notice: Notice, context: Context) -> None:
    # Not the notifier's call: that would first take the notice's words for templates.
    try:
        channel.notify(context)
    except Exception as error:  # whatever ails a mail server or a chat, the data is not to blame
        channel.log.error("%s could not tell of %r: %s", type(channel).__name__, notice.headline, error)


class Target(NamedTuple):
    """Where a connection leads."""

    url: str
    headers: dict[str, str]


def post(conn_id: str, document: dict[str, Any]) -> None:
    """Posts JSON to the URL of an Airflow connection.

    Raises:
        ChannelError: There is no such connection, nobody answers, or the answer is an error.
    """
    import httpx
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        with _ASKING:
            target = target_of(Connection.get(conn_id))
        answer = httpx.post(target.url, json=document, headers=target.headers, timeout=SECONDS)
    except AirflowNotFoundException:
        raise ChannelError(f"there is no Airflow connection {conn_id!r}; create it") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The URL is the secret of most webhooks: say what happened, not where.
        raise ChannelError(f"the URL of connection {conn_id!r} does not answer ({type(error).__name__})") from None
    if not answer.is_success:
        raise ChannelError(f"the URL of connection {conn_id!r} answered {answer.status_code}: {answer.text[:200]}")


def target_of(connection: Connection) -> Target:
    """Returns where a connection leads: its URL in one of the ways in which people write it.

    The whole URL may stand in the field Host; or it is given as the connection (`AIRFLOW_CONN_HOOK=https://…`), in
    parts. A password alone becomes a bearer token, with a login it becomes basic authentication. The extra `headers`
    are sent along; other extras are the URL's query.
    """
    extra = dict(connection.extra_dejson)
    headers = {str(name): str(value) for name, value in dict(extra.pop("headers", {})).items()}
    host = connection.host or ""
    if connection.conn_type == "slackwebhook":
        return Target(f"{host if '://' in host else _SLACK}{connection.password or ''}", headers)
    if "://" in host:
        url = host
    else:
        protocol = connection.schema if connection.schema in ("http", "https") else None
        path = "" if protocol else connection.schema or ""
        scheme = protocol or (connection.conn_type if connection.conn_type in ("http", "https") else "https")
        port = f":{connection.port}" if connection.port else ""
        url = f"{scheme}://{host}{port}/{path}"
    if extra:
        url += ("&" if "?" in url else "?") + urlencode(extra)
    if connection.password:
        credentials = f"{connection.login}:{connection.password}"
        basic = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        headers.setdefault("Authorization", basic if connection.login else f"Bearer {connection.password}")
    return Target(url, headers)
