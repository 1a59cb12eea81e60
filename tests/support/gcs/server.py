"""The emulator as tests and people use it: a child process on free ports of this machine."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from tests.support.gcs.faults import Operation, Request, Rule
from tests.support.gcs.front import CONTROL
from tests.support.servers import LOOPBACK, free_ports, running, wait_until

Backend = Literal["filesystem", "memory"]
ROOT = Path(__file__).parents[3]

# Written out: this module serves in an image, too, that lacks the package.
_OF_A_VERSION = re.compile(r"/manifest\.json$|\.(tfrecord|index)-[^/]*$")


@dataclass(frozen=True)
class Emulator:
    """A running emulator.

    Attributes:
        url: Its base URL; clients find it in STORAGE_EMULATOR_HOST.
    """

    url: str

    def make_bucket(self, name: str) -> str:
        """Makes a bucket and returns its URI."""
        self._ask("POST", "/storage/v1/b?project=demo", {"name": name})
        return f"gs://{name}"

    def strike(self, *rules: Rule) -> None:
        """Sets the faults from here on; none to heal the service."""
        self._ask("PUT", CONTROL, [rule.to_json() for rule in rules])

    def seen(self) -> dict[str, int]:
        """Returns how many requests of each operation came since `strike`."""
        return json.loads(self._ask("GET", CONTROL))["requests"]

    def asked(self, operation: Operation) -> list[Request]:
        """Returns the requests of one operation since `strike`, oldest first."""
        latest = (Request(*each) for each in json.loads(self._ask("GET", CONTROL))["latest"])
        return [request for request in latest if request.operation == operation]

    def struck(self) -> int:
        """Returns how many requests the rules have hit."""
        return json.loads(self._ask("GET", CONTROL))["struck"]

    def copy_shards(self, folder: Path) -> None:
        """Copies every shard with its index, and the manifests, into a folder: one below it for each bucket."""
        for bucket in self._list("b"):
            for name in self._list(f"b/{bucket}/o"):
                if _OF_A_VERSION.search(name):
                    path = folder / bucket / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(self._ask("GET", f"/download/storage/v1/b/{bucket}/o/{quote(name, '')}?alt=media"))

    def _list(self, what: str) -> Iterator[str]:
        token = ""
        while token is not None:
            page = json.loads(self._ask("GET", f"/storage/v1/{what}?pageToken={quote(token)}"))
            yield from (item["name"] for item in page.get("items", []))
            token = page.get("nextPageToken")

    def _ask(self, method: str, path: str, content: Any = None) -> bytes:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


def client_environment(url: str) -> dict[str, str]:
    """Returns the variables that point Google's clients, and imagemill, at an emulator."""
    return {
        "STORAGE_EMULATOR_HOST": url,
        # gcsfs, behind Airflow's ObjectStoragePath, would ask for a feature that the emulator lacks.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{url}/storage/v1/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": "demo",
    }


@contextmanager
def emulator(folder: Path, *, backend: Backend = "filesystem", buckets: Sequence[str] = ()) -> Iterator[Emulator]:
    """Runs an emulator that holds nothing yet; its log is in `folder`, and what shards it held in the end."""
    (port,) = free_ports(1)
    found = Emulator(f"http://{LOOPBACK}:{port}")
    options = ["--port", str(port), "--backend", backend]
    options += [part for bucket in buckets for part in ("--bucket", bucket)]
    command = [sys.executable, "-m", "tests.support.gcs", *options]
    log = folder / "emulator.log"
    with running("emulator", command, log=log, env=os.environ | {"PYTHONPATH": str(ROOT)}) as server:
        wait_until(lambda: b"# serving" in log.read_bytes(), server)
        yield found
        found.strike()
        found.copy_shards(folder / "buckets")
