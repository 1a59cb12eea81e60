"""Every event as a person and a program receive it: by real mail and real webhooks, word for word."""

from __future__ import annotations

import html
import json
import logging
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from tests.support.airflow_home import HOME

from airflow.providers.standard.exceptions import HITLTimeoutError  # isort: skip  (after its settings)
from imagemill.catalog import CurrentVersion
from imagemill.errors import CallerError, TemporaryFault, UnusableData
from imagemill.spec import Alerts, DatasetSpec, FolderSource, Locations
from imagemill.spec.file import BrokenSpec, Fault, SpecError
from imagemill_airflow import alarms, alerts, channels
from imagemill_airflow.alarms import Alarm
from imagemill_airflow.broken_specs import BrokenSpecAlert, broken_notice
from imagemill_airflow.channels import tell
from imagemill_airflow.freshness import stale_notice
from tests.support.receivers import hook, inbox

GOLDEN = Path(__file__).parent / "golden"

NEW, OLD = "20260301T030000Z-1f2e3d4c", "20260222T030000Z-aabbccdd"
OUTPUT = "gs://photos/datasets/cats"
REASON = """\
cats 20260301T030000Z-1f2e3d4c failed 1 of 24 checks:
- reject_share: 5 of 10 rows (<b>missing</b>: 5); expected at most 1%. Look at rejects.jsonl; {{ params }} is text.
The published version is untouched. Report: gs://photos/datasets/cats/versions/20260301T030000Z-1f2e3d4c/validation.html"""

PLAN = {"action": "convert", "version": NEW, "version_uri": f"{OUTPUT}/versions/{NEW}"}
PUBLISHED = {
    "version": NEW,
    "path": f"{OUTPUT}/versions/{NEW}",
    "previous": OLD,
    "rows": 60_000,
    "records": 59_998,
    "rejected": 2,
    "duplicates": 0,
    "shards": 8,
    "fingerprint": "1f2e3d4c" * 8,
}


@pytest.fixture
def mail():
    with inbox() as server:
        yield server


@pytest.fixture
def web():
    with hook() as server:
        yield server


@pytest.fixture
def spec():
    return DatasetSpec(
        name="cats",
        source=FolderSource(type="folder", root="/x"),
        locations=Locations(staging="gs://photos/staging/cats", output=OUTPUT, work="/work"),
        alerts=Alerts(
            email=("ann@example.org", "bob@example.org"),
            slack_conn_id="chat",
            webhook_conn_id="hook",
            events=("failure", "rejected", "recovery", "stale", "approval", "publication"),
            stale_after_days=8,
        ),
    )


@pytest.fixture(autouse=True)
def served():
    """What is published; reading it is the catalog's own affair."""
    current = CurrentVersion(version=OLD, uri=f"{OUTPUT}/versions/{OLD}", manifest_sha256="0" * 64)
    with patch("imagemill.catalog.Catalog.current", lambda self: current), patch("imagemill.catalog.open_store"):
        yield


@pytest.fixture(autouse=True)
def connections(monkeypatch, mail, web):
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mail.connection)
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", f"{web.url}/services/T0/B0/x")
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", f"{web.url}/hook")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org")
    monkeypatch.setenv("IMAGEMILL_GCP_CONN_ID", "")


def context(task_id, *, exception=None, tries=1, results=None):
    kept = {"plan_conversion": PLAN} | (results or {})
    ti = SimpleNamespace(
        dag_id="refresh_cats",
        task_id=task_id,
        run_id="scheduled__2026-03-01T03:00:00+00:00",
        map_index=-1,
        try_number=tries,
        log_url=f"https://airflow.example.org/log?task={task_id}&try={tries}",
        xcom_pull=lambda *, task_ids, key="return_value": kept.get(task_ids if key == "return_value" else key),
    )
    task = SimpleNamespace(operator_extra_links=())
    return {"ti": ti, "task_instance": ti, "task": task} | ({"exception": exception} if exception else {})


def received(web):
    """Returns what each connection's URL was told; channels are used at once, in no order."""
    return {post.path: post.body for post in web.posts}


SLACK, HOOK = "/services/T0/B0/x", "/hook"

ALARM = Alarm(
    headline="prepare_images failed: no such archive",
    task_id="prepare_images",
    run_id="scheduled__2026-02-28",
    since=datetime(2026, 2, 28, 3, 1, tzinfo=UTC),
)


def failure(spec):
    error = TemporaryFault("the job was ended by SIGKILL; the machine may have run out of memory")
    return alerts.failure_notice(spec, context("convert_images", exception=error, tries=5))


def lost(spec):
    return alerts.failure_notice(spec, context("convert_images"))


def rejected_by_validation(spec):
    return alerts.failure_notice(spec, context("validate_records", exception=UnusableData(REASON)))


def refused(spec):
    return alerts.refusal_notice(spec, context("approve"), by="ann", reason="half the cats are dogs")


def not_approved_in_time(spec):
    return alerts.failure_notice(spec, context("approve", exception=HITLTimeoutError({})))


def recovery(spec):
    return alerts.recovery_notice(spec, ALARM, context("publish", results={"publish": PUBLISHED}))


def recovery_unchanged(spec):
    unchanged = {"action": "unchanged", "version": OLD}
    return alerts.recovery_notice(spec, ALARM, context("plan_conversion", results={"plan_conversion": unchanged}))


def stale(spec):
    age = timedelta(days=9, hours=2)
    return stale_notice(spec, datetime(2026, 2, 22, 3, 4, tzinfo=UTC), age)


def approval(spec):
    with patch(
        "imagemill_airflow.alerts.ApprovalOperator.generate_link_to_ui_from_context",
        lambda context: "https://airflow.example.org/required_actions",
    ):
        return alerts.approval_notice(spec, context("approve"))


def publication(spec):
    return alerts.publication_notice(spec, PUBLISHED, context("publish"))


def broken_spec(_spec):
    path = Path("/specs/cats.yaml")
    fault = Fault(path, 3, 1, "shedule", "@daily", "There is no key `shedule`.", "Did you mean `schedule`?")
    error = SpecError(path, [fault])
    return broken_notice(BrokenSpec(path, error), context("cats.yaml", exception=error))


EVENTS = [
    broken_spec,
    failure,
    lost,
    rejected_by_validation,
    refused,
    not_approved_in_time,
    recovery,
    recovery_unchanged,
    stale,
    approval,
    publication,
]


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_reaches_a_person_word_for_word(event, spec, mail, web, request):
    notice = event(spec)
    tell(notice, spec.alerts, {})
    golden = GOLDEN / f"{event.__name__}.txt"
    assert notice.text + "\n" == golden.read_text()
    (message,) = mail.messages
    assert message["to"] == "ann@example.org, bob@example.org"
    assert message["from"] == "mill@example.org"
    assert message["subject"] == notice.subject
    body = message.get_body().get_content()
    words = html.unescape(re.sub(r"<[^>]*>", " ", body))
    for title, text in notice.sections.items():
        assert title in words
        assert text in words
    for name, url in notice.links.items():
        assert html.escape(url) in body
        assert name in body
    told = received(web)
    assert set(told) == {SLACK, HOOK}
    assert told[SLACK]["text"] == notice.subject
    (attachment,) = told[SLACK]["attachments"]
    head, *sections, _places = attachment["blocks"]
    assert head["text"]["text"] == notice.subject[:149] + ("…" if len(notice.subject) > 149 else "")
    assert [block["text"]["text"].partition(":* ")[0].strip("*") for block in sections] == list(notice.sections)
    assert told[HOOK]["text"] + "\n" == golden.read_text()
    assert told[HOOK]["event"] == notice.event
    assert told[HOOK]["dataset"] == "cats"


def test_no_word_of_a_notice_is_a_template_or_markup(spec, mail, web):
    tell(rejected_by_validation(spec), spec.alerts, {"params": {"a": "b"}})
    body = mail.messages[0].get_body().get_content()
    assert "&lt;b&gt;missing&lt;/b&gt;" in body
    assert "{{ params }} is text" in body
    shown = received(web)[SLACK]["attachments"][0]["blocks"][1]["text"]["text"]
    assert "&lt;b&gt;missing" in shown


@pytest.mark.parametrize("task_id", ["validate_records", "approve", "publish"])
def test_what_follows_a_job_links_to_it(task_id):
    job = "https://console.cloud.google.com/dataflow/jobs/x"
    assert alerts.links(context(task_id, results={"link_dataflow_job": job}))["Dataflow job"] == job
    assert "Dataflow job" not in alerts.links(context(task_id))


def test_slack_gets_links_only_where_a_browser_can_go(spec, web):
    tell(rejected_by_validation(spec), spec.alerts, {})
    (places,) = received(web)[SLACK]["attachments"][0]["blocks"][-1]["elements"]
    assert "<https://airflow.example.org/log?task=validate_records&try=1|Log>" in places["text"]
    assert f"Report: `{OUTPUT}/versions/{NEW}/validation.html`" in places["text"]


def test_a_program_finds_what_it_needs_in_a_publication(spec, web):
    tell(publication(spec), spec.alerts, {})
    document = received(web)[HOOK]
    assert {name: document[name] for name in PUBLISHED} == PUBLISHED
    assert document["type"] == "success"
    assert document["links"]["Log"].startswith("https://airflow.example.org/log")


def test_only_what_the_spec_chooses_is_told_and_the_log_has_all(spec, mail, web, capsys):
    quiet = spec.alerts.model_copy(update={"events": ("failure",)})
    tell(publication(spec), quiet, {})
    assert (mail.messages, web.posts) == ([], [])
    assert publication(spec).text in capsys.readouterr().out
    tell(failure(spec), quiet, {})
    assert (len(mail.messages), len(web.posts)) == (1, 2)


def test_a_failure_is_told_once(spec, mail, web, monkeypatch):
    monkeypatch.setattr(alarms, "Variable", Variables())
    alerts.FailureAlert(spec)(context("publish", exception=TemporaryFault("503")))
    assert (len(mail.messages), len(web.posts)) == (1, 2)


class Variables:
    """Airflow's variables, in memory."""

    def __init__(self):
        self._values = {}

    def get(self, name, default):
        return self._values.get(name, default)

    def set(self, name, value, description):
        self._values[name] = value


@pytest.mark.parametrize(("alarm", "told"), [("refresh", 2), ("watch", 1)])
def test_a_watch_that_goes_on_failing_is_told_once_and_a_refresh_each_time(spec, mail, monkeypatch, alarm, told):
    monkeypatch.setattr(alarms, "Variable", Variables())
    for _ in range(2):
        alerts.FailureAlert(spec, alarm)(context("cats", exception=TemporaryFault("503")))
    assert len(mail.messages) == told


def test_a_broken_spec_is_told_once_to_whom_the_installation_names(mail, monkeypatch):
    monkeypatch.setattr(alarms, "Variable", Variables())
    monkeypatch.setenv("IMAGEMILL_ALERT_EMAIL", "ops@example.org, eve@example.org")
    path = Path("/specs/cats.yaml")
    error = SpecError(path, [Fault(path, 3, 1, "shedule", "", "There is no key `shedule`.", "")])
    for _ in range(2):
        BrokenSpecAlert(BrokenSpec(path, error))(context("cats.yaml", exception=error))
    (message,) = mail.messages
    assert message["to"] == "ops@example.org, eve@example.org"
    assert "There is no key `shedule`" in message.get_body().get_content()


def test_a_broken_connection_to_google_silences_no_alert(spec, mail, monkeypatch):
    monkeypatch.setattr(alarms, "Variable", Variables())
    monkeypatch.setenv("IMAGEMILL_GCP_CONN_ID", "two_keys")
    both = {"conn_type": "google_cloud_platform", "extra": {"key_path": "/k.json", "keyfile_dict": "{}"}}
    monkeypatch.setenv("AIRFLOW_CONN_TWO_KEYS", json.dumps(both))
    alerts.FailureAlert(spec)(context("publish", exception=CallerError("keep one of them")))
    (message,) = mail.messages
    assert "unknown (the Airflow connection &#39;two_keys&#39; has key_path and" in message.get_body().get_content()


def test_an_interrupted_run_tells_nobody(spec, mail, web):
    alerts.FailureAlert(spec)(context("publish", exception=KeyboardInterrupt()))
    assert (mail.messages, web.posts) == ([], [])


def test_an_error_without_words_is_named(spec):
    notice = alerts.failure_notice(spec, context("publish", exception=KeyError()))
    assert (notice.why, notice.headline) == ("KeyError", "publish failed: KeyError")


def test_a_damaged_catalog_is_part_of_the_notice_and_no_second_failure(spec, served):
    def damaged(self):
        raise UnusableData("CURRENT is not JSON")

    with patch("imagemill.catalog.Catalog.current", damaged):
        assert alerts.failure_notice(spec, context("publish")).served == "unknown (CURRENT is not JSON)"


def test_who_is_never_published_serves_nothing(spec):
    with patch("imagemill.catalog.Catalog.current", lambda self: None):
        assert "never published" in alerts.failure_notice(spec, context("publish")).served


def test_a_channel_that_is_down_keeps_no_other_one_silent(spec, mail, web, monkeypatch, capsys):
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", re.sub(r":\d+/", ":1/", mail.connection))
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", "http://127.0.0.1:1/services/secret")
    tell(failure(spec), spec.alerts, {})
    (post,) = web.posts
    assert post.path == "/hook"
    logged = capsys.readouterr().out
    for channel in ("MailChannel", "SlackChannel"):
        assert f"{channel} could not tell of 'convert_images failed" in logged
    assert "secret" not in logged
    assert HOME.is_dir()


def test_a_mail_server_that_never_answers_silences_no_other_channel(spec, web, monkeypatch, caplog):
    monkeypatch.setattr(channels, "PATIENCE_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as silent, caplog.at_level(logging.ERROR):
        address = f"smtp://127.0.0.1:{silent.getsockname()[1]}/?disable_ssl=true&disable_tls=true&from_email=a%40b.org"
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", address)
        tell(failure(spec), spec.alerts, {})
        assert "MailChannel has not told of" in caplog.text
        assert set(received(web)) == {SLACK, HOOK}
