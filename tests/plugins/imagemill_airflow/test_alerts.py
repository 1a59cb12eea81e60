"""The mail of a failure, as a real SMTP server receives it."""

import email
import email.policy
import logging
import re
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from tests.support.airflow_home import HOME

from imagemill_airflow.alerts import LOST, FailureLog, FailureMail, failure_notice, on_failure  # isort: skip  (after)
from imagemill.errors import UnusableData
from imagemill.spec import Alerts, DatasetSpec, FolderSource, Locations
from imagemill_airflow.environment import free_port

REASON = "5 of 10 rows were rejected (<b>missing</b>: 5); {{ params }} is no template here\nsee rejects.jsonl"


class Inbox(Message):
    def __init__(self):
        super().__init__()
        self.messages = []

    def prepare_message(self, session, envelope):
        return email.message_from_bytes(envelope.content, policy=email.policy.default)

    def handle_message(self, message):
        self.messages.append(message)


@pytest.fixture
def inbox(monkeypatch):
    handler = Inbox()
    port = free_port(0)
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    connection = f"smtp://127.0.0.1:{port}/?disable_ssl=true&disable_tls=true&from_email=mill%40example.org"
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
    yield handler
    controller.stop()


@pytest.fixture
def spec(tmp_path):
    return DatasetSpec(
        name="cats",
        source=FolderSource(type="folder", root="/x"),
        locations=Locations(
            staging=str(tmp_path / "staging"), output=str(tmp_path / "output"), work=str(tmp_path / "work")
        ),
        alerts=Alerts(email=("ann@example.org", "bob@example.org")),
    )


@pytest.fixture
def context():
    ti = SimpleNamespace(
        task_id="validate_records", run_id="manual__1", try_number=1, log_url="http://localhost/log?a=1&b=2"
    )
    return {"ti": ti, "exception": UnusableData(REASON), "params": {}}


def test_the_mail_says_what_why_what_is_served_and_what_to_do(inbox, spec, context):
    FailureMail(spec)(context)
    (message,) = inbox.messages
    assert message["to"] == "ann@example.org, bob@example.org"
    assert message["from"] == "mill@example.org"
    assert message["subject"].startswith("[imagemill] cats: validate_records failed: 5 of 10 rows")
    body = message.get_body().get_content()
    assert "5 of 10 rows were rejected (&lt;b&gt;missing&lt;/b&gt;: 5); {{ params }} is no template here" in body
    assert "nothing: this dataset was never published" in body
    assert "The candidate stays for inspection" in body
    assert re.search(r'href="http://localhost/log\?a=1&amp;b=2"', body)


def test_an_interrupted_run_mails_nobody(inbox, spec, context):
    FailureMail(spec)(context | {"exception": KeyboardInterrupt()})
    assert inbox.messages == []


def test_a_notice_without_an_exception_says_that_the_process_was_lost(spec, context):
    assert failure_notice(spec, {"ti": context["ti"]}).reason == LOST


def test_an_error_without_words_is_named(spec, context):
    assert failure_notice(spec, context | {"exception": KeyError()}).reason == "KeyError"


def test_a_damaged_catalog_is_part_of_the_notice_and_no_second_failure(spec, context, tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "CURRENT").write_text("not JSON")
    assert failure_notice(spec, context).served.startswith("unknown (")


def test_the_log_gets_the_whole_notice(spec, context, caplog):
    notifier = FailureLog(spec)
    notifier._log = logging.getLogger("alerts")
    notifier(context)
    assert "Why: 5 of 10 rows" in caplog.text
    assert "Still served: nothing" in caplog.text


def test_nobody_is_mailed_where_the_spec_names_nobody(spec):
    silent = spec.model_copy(update={"alerts": Alerts()})
    assert [type(notifier) for notifier in on_failure(silent)] == [FailureLog]
    assert HOME.is_dir()
