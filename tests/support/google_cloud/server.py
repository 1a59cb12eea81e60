"""The stand-in as tests use it: a child process on a free port, and the variables that make the real gcloud use it."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gcloud import alone
from tests.support.gcs.server import ROOT
from tests.support.google_cloud.api import CONTROL, OWNER, PROJECT
from tests.support.servers import LOOPBACK, free_ports, running, wait_until

Json = dict[str, Any]

_ENDPOINTS = {
    "IAM": "iam/",
    "CLOUDRESOURCEMANAGER": "cloudresourcemanager/",
    "STORAGE": "storage/v1/",
    "ARTIFACTREGISTRY": "artifactregistry/",
    "COMPOSER": "composer/",
}


@dataclass(frozen=True)
class GoogleCloud:
    """A running stand-in.

    Attributes:
        url: Its address.
        folder: Where gcloud keeps its configuration and finds its tokens.
    """

    url: str
    folder: Path

    def signed_in(self, member: str = OWNER) -> dict[str, str]:
        """Returns the variables with which gcloud is somebody, such as `user:ann@example.org`, in this cloud."""
        token = self.folder / f"token of {member.replace(':', ' ')}"
        token.write_text(member)
        endpoints = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{self.url}/{at}" for api, at in _ENDPOINTS.items()}
        # Whatever asks any other address is sent here, too, and refused.
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.url)
        return {
            **alone(self.folder),
            **endpoints,
            **proxies,
            "NO_PROXY": LOOPBACK,
            "no_proxy": LOOPBACK,
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
        }

    def told(self) -> Json:
        """Returns all that it holds: from accounts and policies to requests that nobody answered."""
        return json.loads(self._ask("GET"))

    def change(self, **software: Any) -> None:
        """Changes the environment's software, as somebody else does."""
        self._ask("PATCH", software)

    def _ask(self, method: str, content: Any = None) -> bytes:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + CONTROL, data, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


@contextmanager
def google_cloud(folder: Path) -> Iterator[GoogleCloud]:
    """Runs a project that has buckets, a repository and an environment, and nobody but its owner."""
    (port,) = free_ports(1)
    log = folder / "google-cloud.log"
    command = [sys.executable, "-m", "tests.support.google_cloud", f"--port={port}"]
    with running("google cloud", command, log=log, env=os.environ | {"PYTHONPATH": str(ROOT)}) as server:
        wait_until(lambda: b"# serving" in log.read_bytes(), server)
        yield GoogleCloud(f"http://{LOOPBACK}:{port}", folder)
