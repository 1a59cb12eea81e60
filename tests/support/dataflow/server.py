"""The stand-in as tests use it: a child process on a free port, and the variables that make Google's clients use it."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.dataflow.api import CONTROL, PROJECT
from tests.support.dataflow.troubles import ApiTrouble, JobTrouble, to_json
from tests.support.gcs.server import Emulator, client_environment
from tests.support.runners import BOOT, PRISM, ROOT, WORKER, require
from tests.support.servers import LOOPBACK, Server, free_ports, running, wait_until

Json = dict[str, Any]


@dataclass(frozen=True)
class StandIn:
    """A running stand-in.

    Attributes:
        url: Its address, as the pipeline option `dataflow_endpoint` takes it.
        gcs: The storage that its jobs use.
        variables: What makes Google's clients use both.
    """

    url: str
    gcs: Emulator
    variables: dict[str, str]
    server: Server

    def trouble(self, *rules: ApiTrouble | JobTrouble) -> None:
        """Sets what goes wrong from here on; nothing to heal the service."""
        self._ask("PUT", CONTROL, to_json(*rules))

    def release(self, name: str = "") -> None:
        """Lets jobs go on that are held and whose name contains `name`."""
        self._ask("POST", f"{CONTROL}/release?name={name}")

    def cancel(self, job_id: str) -> None:
        """Cancels a job, as a person does in Google's console."""
        self._ask("POST", f"{CONTROL}/cancel?id={job_id}")

    def jobs(self, name: str = "") -> list[Json]:
        """Returns the jobs whose name contains `name`, the oldest first."""
        return [job for job in self._told()["jobs"] if name in job["name"]]

    def requests(self) -> dict[str, int]:
        """Returns how many requests came since `trouble`, by method."""
        return self._told()["requests"]

    def most_live(self, name: str) -> int:
        """Returns how many jobs of one name were ever alive at once."""
        return max((most for job, most in self._told()["most_live"].items() if name in job), default=0)

    def wait_for(self, condition: Callable[[list[Json]], bool], *, name: str = "", seconds: float = 90) -> None:
        """Waits until the jobs are as asked."""
        wait_until(lambda: condition(self.jobs(name)), self.server, seconds=seconds)

    def _told(self) -> Json:
        return json.loads(self._ask("GET", CONTROL))

    def _ask(self, method: str, path: str, content: Any = None) -> bytes:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


@contextmanager
def dataflow(folder: Path, gcs: Emulator) -> Iterator[StandIn]:
    """Runs a stand-in that knows no job yet; its logs are in `folder`."""
    require(PRISM, BOOT, WORKER)
    (port,) = free_ports(1)
    # Beam speaks REST instead of gRPC to a host of this name only.
    url = f"http://localhost:{port}"
    variables = client_environment(gcs.url) | {"GOOGLE_APPLICATION_CREDENTIALS": str(_service_account(folder, url))}
    command = [sys.executable, "-m", "tests.support.dataflow", f"--port={port}", f"--gcs={gcs.url}", str(folder)]
    log = folder / "dataflow.log"
    environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
    with running("dataflow", command, log=log, env=environment) as server:
        wait_until(lambda: b"# serving" in log.read_bytes(), server)
        yield StandIn(url, gcs, variables, server)


def _service_account(folder: Path, url: str) -> Path:
    """Writes the key of a service account that this stand-in gives a token to."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": f"airflow@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url.replace('localhost', LOOPBACK)}/token",
    }
    path = folder / "service-account.json"
    path.write_text(json.dumps(account))
    return path
