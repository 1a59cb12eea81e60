"""Real servers on loopback that keep what they are told: mail, webhooks, StatsD."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from tests.support.servers import LOOPBACK, free_ports


class Inbox(Message):
    """A mail server's memory.

    Attributes:
        connection: What `AIRFLOW_CONN_…` must say to reach it.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.messages: list[EmailMessage] = []
        self.connection = f"smtp://{LOOPBACK}:{port}/?disable_ssl=true&disable_tls=true&from_email=mill%40example.org"

    def prepare_message(self, session, envelope):
        return email.message_from_bytes(envelope.content, policy=email.policy.default)

    def handle_message(self, message):
        self.messages.append(message)


@contextmanager
def inbox() -> Iterator[Inbox]:
    (port,) = free_ports(1)
    handler = Inbox(port)
    controller = Controller(handler, hostname=LOOPBACK, port=port)
    controller.start()
    yield handler
    controller.stop()


class Posted(NamedTuple):
    path: str
    headers: dict[str, str]
    body: Any


class Hook:
    """A web server that answers every POST with `status`.

    Attributes:
        url: Its address; any path will do.
        posts: What came.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.posts: list[Posted] = []
        self.status = 200


@contextmanager
def hook() -> Iterator[Hook]:
    server = ThreadingHTTPServer((LOOPBACK, 0), BaseHTTPRequestHandler)
    found = Hook(f"http://{LOOPBACK}:{server.server_port}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(Posted(self.path, dict(self.headers), json.loads(data)))
            self.send_response(found.status)
            self.end_headers()
            self.wfile.write(b"said the server")

        def log_message(self, *arguments):
            pass

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


class Statsd:
    """A StatsD server's memory: lines such as `imagemill.cats.rows:50|g`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lines: list[str] = []

    @property
    def settings(self) -> dict[str, str]:
        """Airflow's variables that lead here."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": LOOPBACK,
            "AIRFLOW__METRICS__STATSD_PORT": str(self.port),
        }


@contextmanager
def statsd() -> Iterator[Statsd]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((LOOPBACK, 0))
        found = Statsd(receiver.getsockname()[1])

        def listen():
            while data := receiver.recv(65_535):
                found.lines += data.decode().splitlines()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield found
        receiver.sendto(b"", receiver.getsockname())
        thread.join()
