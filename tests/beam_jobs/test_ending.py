from __future__ import annotations

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from beam_jobs.ending import Stopped, cancel_on_flink, signals_raise
from tests.support.servers import LOOPBACK, free_ports

JOBS = [
    {"jid": "1", "name": "ours", "state": "RUNNING"},
    {"jid": "2", "name": "ours", "state": "CANCELED"},
    {"jid": "3", "name": "another's", "state": "RUNNING"},
    {"jid": "4", "name": "ours", "state": "RESTARTING"},
]


@pytest.fixture
def flink():
    """Serves what Flink's REST interface answers; returns its address and the paths of all changes that were asked."""
    patched = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200, {"jobs": JOBS} if self.path == "/jobs/overview" else {})

        def do_PATCH(self):
            patched.append(self.path)
            self.answer(202, {})

        def answer(self, status, body):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{LOOPBACK}:{server.server_port}", patched
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_only_the_live_jobs_of_that_name_are_cancelled(flink, scheme):
    address, patched = flink
    cancel_on_flink(scheme + address, "ours")
    assert patched == ["/jobs/1?mode=cancel", "/jobs/4?mode=cancel"]


def test_a_flink_that_is_not_known_is_not_asked(caplog):
    cancel_on_flink("[auto]", "ours")
    assert caplog.text == ""


def test_a_flink_that_cannot_be_asked_is_told_to_a_person(caplog):
    (port,) = free_ports(1)
    cancel_on_flink(f"{LOOPBACK}:{port}", "ours")
    assert "a job ours may still run on Flink" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_what_nothing_catches_by_accident(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=number.name), signals_raise():
        os.kill(os.getpid(), number)
    assert not issubclass(Stopped, Exception)
    assert signal.getsignal(number) is before
