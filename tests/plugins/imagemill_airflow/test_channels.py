"""Where a connection leads, however people write it, and what is said when nobody is there."""

from __future__ import annotations

import json

import pytest

from tests.support.airflow_home import HOME

from airflow.sdk import Connection  # isort: skip  (after its settings)
from imagemill_airflow.channels import ChannelError, post, target_of  # isort: skip
from tests.support.receivers import hook


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        pytest.param("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/services/T/B/x", id="a URL"),
        pytest.param("http://127.0.0.1:8065/hooks/abc", "http://127.0.0.1:8065/hooks/abc", id="a port"),
        pytest.param("https://example.org/hook?sig=a%2Bb", "https://example.org/hook?sig=a%2Bb", id="a query"),
        pytest.param(
            {"conn_type": "http", "host": "https://example.org/hook?a=b"}, "https://example.org/hook?a=b", id="in Host"
        ),
        pytest.param(
            {"conn_type": "http", "host": "example.org", "schema": "https"}, "https://example.org/", id="Airflow's way"
        ),
        pytest.param(
            {"conn_type": "slackwebhook", "password": "T/B/x"}, "https://hooks.slack.com/services/T/B/x", id="Slack's"
        ),
    ],
)
def test_a_connection_leads_to_its_url(connection, url):
    assert target_of(made(connection)).url == url


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        pytest.param({"password": "t"}, {"Authorization": "Bearer t"}, id="token"),
        pytest.param({"login": "u", "password": "p"}, {"Authorization": "Basic dTpw"}, id="login"),
        pytest.param({"extra": {"headers": {"X-Key": "k"}}}, {"X-Key": "k"}, id="header"),
        pytest.param(
            {"password": "t", "extra": {"headers": {"Authorization": "ours"}}}, {"Authorization": "ours"}, id="own"
        ),
    ],
)
def test_credentials_are_sent_as_headers(fields, headers):
    assert target_of(made({"conn_type": "http", "host": "https://example.org"} | fields)).headers == headers


def made(connection):
    if isinstance(connection, str):
        return Connection.from_uri(connection, conn_id="x")
    return Connection.from_json(json.dumps(connection), conn_id="x")


def test_a_missing_connection_is_named():
    with pytest.raises(ChannelError, match="no Airflow connection 'nowhere'"):
        post("nowhere", {})


def test_no_error_tells_the_secret_url(monkeypatch):
    with hook() as web:
        monkeypatch.setenv("AIRFLOW_CONN_CHAT", f"{web.url}/secret")
        web.status = 404
        with pytest.raises(ChannelError) as refused:
            post("chat", {})
        assert str(refused.value) == "the URL of connection 'chat' answered 404: said the server"
    with pytest.raises(ChannelError) as gone:
        post("chat", {})
    assert str(gone.value) == "the URL of connection 'chat' does not answer (ConnectError)"
    assert HOME.is_dir()
