"""The compose stack for tests: a project of its own beside whatever runs, on free ports, with specs of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.runners import ROOT
from tests.support.servers import LOOPBACK, free_ports

SCRIPTS = ROOT / "deploy" / "stack"
ONE_SHOT = {"secrets", "init"}
"""Services that end, well, before the others begin."""

_REQUIRED = "IMAGEMILL_REQUIRE_ENGINE"


@functools.cache
def _no_engine() -> str:
    """Returns why there is no engine to test with; "" where there is one."""
    if shutil.which("docker") is None:
        return "no docker on this machine"
    for command in (["docker", "info"], ["docker", "compose", "version"], ["docker", "buildx", "version"]):
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode:
            return f"`{' '.join(command)}` says: {asked.stderr.strip()[-300:]}"
    return ""


def require_engine() -> None:
    """Skips the test, or fails it where IMAGEMILL_REQUIRE_ENGINE=1 says that an engine must be there."""
    if not (reason := _no_engine()):
        return
    if os.environ.get(_REQUIRED) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class ComposeStack:
    """A project of docker-compose.yaml.

    Attributes:
        project: Its name, in front of the names of all that it makes.
        dags: The DAGs folder that it mounts: a copy of ours, for more specs.
        variables: What `.env` would hold. A `.env` and an override file that are there are this machine's own: the
            tests read neither, or they would publish to its bucket and write to its people.
        root: The project's folder.
    """

    def __init__(self, project: str, folder: Path, *, root: Path = ROOT) -> None:
        self.project = project
        self.root = root
        self.dags = folder / "dags"
        shutil.copytree(ROOT / "dags", self.dags, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder, self.dags, *self.dags.rglob("*")):  # the containers' user is somebody else
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.ui_port, self.mail_port = free_ports(2)
        self.variables = {
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_FILE": "docker-compose.yaml",
            "COMPOSE_ENV_FILES": os.devnull,
            "COMPOSE_ANSI": "never",
            "IMAGEMILL_DAGS": str(self.dags),
            "IMAGEMILL_UI_PORT": str(self.ui_port),
            "IMAGEMILL_MAIL_PORT": str(self.mail_port),
        }

    def spec(self, name: str, text: str) -> None:
        path = self.dags / "datasets" / f"{name}.yaml"
        path.write_text(text)
        path.chmod(0o644)

    def run(self, *command: str | Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command with the project's variables, from the project's folder."""
        ours = ("IMAGEMILL_", "COMPOSE_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        ended = subprocess.run(
            [str(part) for part in command],
            cwd=self.root,
            env=environment | self.variables | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and ended.returncode:
            raise RuntimeError(
                f"{command} ended with {ended.returncode}:\n{ended.stdout[-3000:]}{ended.stderr[-6000:]}"
            )
        return ended

    def compose(self, *arguments: str, check: bool = True, **variables: str) -> str:
        """Runs `docker compose` and returns what it printed."""
        return self.run("docker", "compose", *arguments, check=check, **variables).stdout

    def up(self) -> str:
        """Brings it up as a person does, and returns what that printed."""
        try:
            return self.run("make", "stack").stdout
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self.compose('logs', '--tail', '60', check=False)}") from error

    def down(self) -> None:
        self.run("make", "stack-down", "PURGE=1")

    def leftovers(self) -> list[str]:
        """Returns the containers, volumes and networks of the project."""
        label = f"label=com.docker.compose.project={self.project}"
        listings = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        return [
            name
            for listing in listings
            for name in self.run("docker", *listing, "--quiet", "--filter", label).stdout.split()
        ]

    def containers(self) -> dict[str, dict[str, Any]]:
        """Returns what the engine knows of each container that runs, by service."""
        ids = self.compose("ps", "--quiet").split()
        found = json.loads(self.run("docker", "inspect", *ids).stdout)
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def logins(self) -> dict[str, str]:
        """Returns the generated passwords, by user."""
        return dict(json.loads(self.compose("exec", "-T", "api-server", "cat", "/run/imagemill/logins.json")))

    def api(self, method: str, path: str, body: Any = None, *, user: str = "admin") -> httpx.Response:
        """Calls Airflow's REST API as somebody who has logged in."""
        url = f"http://{LOOPBACK}:{self.ui_port}"
        login = {"username": user, "password": self.logins()[user]}
        token = httpx.post(f"{url}/auth/token", json=login, timeout=60).raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(method, f"{url}/api/v2/{path}", json=body, headers=headers, timeout=300)
        return answer.raise_for_status()

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Starts a run and returns its path in the API."""
        answer = self.api("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return f"dags/{dag_id}/dagRuns/{answer.json()['dag_run_id']}"

    def finished(self, run: str) -> str:
        """Waits for a run's end and returns its state."""
        last = self.api("GET", f"{run}/wait?interval=1").text.splitlines()[-1]
        return str(json.loads(last)["state"])

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        instances = self.api("GET", f"{run}/taskInstances").json()["task_instances"]
        return {each["task_id"]: each for each in instances}

    def waits_for(self, run: str, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
        """Waits until something holds of a run's tasks.

        Raises:
          TimeoutError: it does not within two minutes.
        """
        deadline = time.monotonic() + 120
        while not holds(self.tasks(run)):
            if time.monotonic() > deadline:
                raise TimeoutError(self.explain(run))
            time.sleep(0.2)

    def explain(self, run: str) -> str:
        """Returns the state of each task of a run, and the end of the log of each that failed."""
        tasks = self.tasks(run)
        logs = [
            self.api("GET", f"{run}/taskInstances/{name}/logs/{task['try_number']}?full_content=true").text[-4000:]
            for name, task in tasks.items()
            if task["state"] == "failed"
        ]
        return "\n".join([str(states(tasks)), *logs])

    def mails(self) -> list[dict[str, Any]]:
        """Returns what the mail catcher holds, the newest first."""
        url = f"http://{LOOPBACK}:{self.mail_port}/api/v1"
        found = httpx.get(f"{url}/messages").raise_for_status().json()["messages"]
        return [dict(httpx.get(f"{url}/message/{each['ID']}").raise_for_status().json()) for each in found]

    def download(self, uri: str, folder: Path) -> Path:
        """Copies a folder of the emulated bucket to this machine."""
        self.compose("exec", "-T", "scheduler", "imagemill", "sync", uri, "/tmp/download", "--delete")
        self.compose("cp", "scheduler:/tmp/download", str(folder))
        return folder


def states(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Returns each task's state."""
    return {name: str(task["state"]) for name, task in tasks.items()}


def seconds_at_work(task: Mapping[str, Any]) -> float:
    """Returns for how long a task has been running, 0 if it is not."""
    if task["state"] != "running":
        return 0.0
    return (datetime.now(UTC) - datetime.fromisoformat(task["start_date"])).total_seconds()
