from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow_home import ROOT, SETTINGS
from tests.support.dataflow.server import StandIn, dataflow
from tests.support.gcs.server import emulator
from tests.support.servers import Server, session_members, wait_until

from imagemill import steps  # isort: skip  (Airflow's settings come first)
from imagemill.spec import DatasetSpec  # isort: skip
from tests.support.dataflow.task import OUTCOME, Kept, write_task  # isort: skip

BUCKET, ELSEWHERE = "mill", "far"


@dataclass
class Conversion:
    """One version to be converted on Dataflow, and the task that does it, try after try.

    Attributes:
        folder: What the task keeps, and its log.
        python: Interpreter of the tries.
    """

    standin: StandIn
    folder: Path
    spec: DatasetSpec
    plan: dict[str, Any]
    python: Path = Path(sys.executable)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> dict[str, Any]:
        return Kept(self.folder / "state.json").all()

    @property
    def xcom(self) -> dict[str, Any]:
        return Kept(self.folder / "xcom.json").all()

    @property
    def log(self) -> str:
        return (self.folder / "task.log").read_text()

    def start(self, **task: Any) -> subprocess.Popen[bytes]:
        """Starts a try, in a session of its own."""
        write_task(self.folder, self.spec, self.plan, **task)
        (self.folder / OUTCOME).unlink(missing_ok=True)
        environment = os.environ | SETTINGS | self.standin.variables
        environment |= {
            "PYTHONPATH": f"{ROOT}:{ROOT}/plugins",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "IMAGEMILL_TEST_FOLDER": str(self.folder),
        }
        with (self.folder / "task.log").open("ab") as log:
            process = subprocess.Popen(
                [self.python, "-m", "tests.support.dataflow.task", self.folder],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def outcome(self, process: subprocess.Popen[bytes], *, seconds: float = 150) -> dict[str, Any]:
        """Waits for a try and returns how it ended."""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            pytest.fail(f"the task hangs:\n{self.log[-6000:]}")
        path = self.folder / OUTCOME
        assert path.exists(), self.log[-6000:]
        return json.loads(path.read_text())

    def run(self, **task: Any) -> dict[str, Any]:
        """Runs a try to its end."""
        return self.outcome(self.start(**task))

    def jobs(self) -> list[dict[str, Any]]:
        """Returns the jobs of this version, the oldest first."""
        return self.standin.jobs(f"imagemill-{self.name.replace(chr(95), chr(45))}-")

    def states(self) -> list[str]:
        return [job["currentState"].removeprefix("JOB_STATE_") for job in self.jobs()]

    def server(self, task: subprocess.Popen[bytes]) -> Server:
        """Returns a try as something whose end is a reason to wait no longer."""
        return Server("the task", task, self.folder / "task.log")

    def wait_for(self, *states: str, task: subprocess.Popen[bytes] | None = None, seconds: float = 90) -> None:
        """Waits until the jobs are in these states."""
        servers = [self.standin.server, *([self.server(task)] if task else [])]
        wait_until(lambda: self.states() == list(states), *servers, seconds=seconds)


def left_running(process: subprocess.Popen[bytes]) -> list[int]:
    """Returns what still lives of a try's session."""
    return session_members(process.pid)


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=[BUCKET, ELSEWHERE]) as gcs:
        folder = tmp_path_factory.mktemp("dataflow")
        with dataflow(folder, gcs) as running:
            yield running


@pytest.fixture(autouse=True)
def healthy(standin):
    yield
    standin.trouble()
    standin.gcs.strike()
    standin.release()


@pytest.fixture
def in_reach(standin, monkeypatch):
    """The stand-in and its storage for this process too."""
    for name, value in standin.variables.items():
        monkeypatch.setenv(name, value)
    logging.getLogger("imagemill_airflow").setLevel(logging.INFO)


@pytest.fixture
def conversion(standin, in_reach, tmp_path, request):
    """Plans a version of a small dataset of its own, with what the spec says of Dataflow."""
    made: list[Conversion] = []

    def make(number: int = 0, **settings: Any) -> Conversion:
        digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:6]
        name = f"{request.node.originalname.removeprefix('test_')[:40].rstrip('_')}_{digest}_{number}"
        cloud = {
            "project": "demo",
            "region": "us-central1",
            "temp_location": f"gs://{BUCKET}/temp",
            "endpoint": standin.url,
            "poll_seconds": 0.3,
        }
        spec = DatasetSpec.model_validate(
            {
                "name": name,
                "source": {"type": "shapes", "train": 40, "test": 10},
                "splits": {"names": ["train", "test"]},
                "conversion": {
                    "runner": "dataflow",
                    "shards": {"count": {"train": 2, "test": 1}},
                    "dataflow": {name: value for name, value in (cloud | settings).items() if value is not None},
                },
                "locations": {
                    "staging": f"gs://{BUCKET}/staging/{name}",
                    "output": f"gs://{BUCKET}/datasets/{name}",
                    "work": str(tmp_path / "work"),
                },
            }
        )
        folder = tmp_path / f"task-{number}"
        folder.mkdir()
        steps.upload_images(spec)
        planned = steps.plan_conversion(spec, now=datetime.now(UTC))
        made.append(Conversion(standin, folder, spec, planned.model_dump(mode="json")))
        return made[-1]

    yield make
    for process in (process for each in made for process in each.started):
        process.kill()
        process.wait()
