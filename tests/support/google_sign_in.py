"""Service accounts made for a test, and the server on this machine that signs them in."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ACCOUNT = "mill@demo.iam.gserviceaccount.com"


class TokenServer:
    """Signs service accounts in; a bucket's listing, asked of it too, is empty, and refused to the first token.

    Attributes:
        url: Its base URL.
        status: What a sign-in is answered with.
        iam_status: What IAM answers to who wants to act as another account.
        scopes: Those of every sign-in and of every account that was acted as, by path.
        tokens: Sign-ins so far: the tokens are `token-1`, `token-2` and so on.
        seen: Headers of every listing.
    """

    def __init__(self) -> None:
        self.status, self.iam_status, self.tokens, self.seen = 200, 200, 0, list[dict[str, str]]()
        self.scopes = list[tuple[str, str]]()
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, content):
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ours.tokens += 1
                if self.path != "/token":
                    self.act_as(json.loads(body))
                    return
                claims = parse_qs(body.decode())["assertion"][0].split(".")[1]
                ours.scopes.append((self.path, json.loads(urlsafe_b64decode(claims + "=="))["scope"]))
                token = {"access_token": f"token-{ours.tokens}", "expires_in": 3600, "token_type": "Bearer"}
                refusal = {"error": "invalid_grant", "error_description": "account not found"}
                self.answer(ours.status, token if ours.status == 200 else refusal)

            def act_as(self, wanted):
                ours.scopes.append((self.path, " ".join(wanted["scope"])))
                given = {"accessToken": f"token-{ours.tokens}", "expireTime": "2100-01-01T00:00:00Z"}
                self.answer(ours.iam_status, given if ours.iam_status == 200 else {"error": {"message": "refused"}})

            def do_GET(self):
                if self.path.startswith("/computeMetadata/"):
                    self.answer(404, {})
                    return
                ours.seen.append(dict(self.headers))
                fresh = self.headers.get("Authorization") != "Bearer token-1"
                self.answer(*((200, {"items": []}) if fresh else (401, {"error": {"message": "expired"}})))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def key(self) -> dict[str, Any]:
        """Returns the key of an account that this server signs in, as Google's JSON key files have it."""
        return {
            "type": "service_account",
            "project_id": "demo",
            "client_email": ACCOUNT,
            "private_key": _private_key(),
            "private_key_id": "1",
            "token_uri": f"{self.url}/token",
        }


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Runs a server in a thread."""
    server = TokenServer()
    thread = threading.Thread(target=server.server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        thread.join()
        server.server.server_close()


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
