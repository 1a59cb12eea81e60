"""A whole Airflow for tests: API server, scheduler with LocalExecutor, DAG processor, triggerer, in a home of its own.

Unlike `dag.test`, everything a run meets in real life is there: the queue, the pauses between tries, the forms, the
login, the callbacks of tasks whose process was lost.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from imagemill.spec.file import load_spec
from imagemill_airflow.environment import airflow_environment, api_environment, dags_folder
from tests.support.servers import Server, free_ports, running, session_members, wait_until

COMPONENTS = {
    "api-server": ["api-server", "--workers", "1"],
    "scheduler": ["scheduler"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer"],
}

ENDED = ("success", "failed")

TRIES = 5
"""Of a request. Airflow's API server writes its audit log in a blocking way on its one event loop, on which a task's
change of state may hold SQLite's only lock: after 5 s that write is refused ("database is locked") and answered by 500,
and nothing of the request is done. Other databases lock rows."""

USERS = {"ann": "admin", "bob": "op"}
"""Who may log in, and their roles in Airflow's simple auth manager."""

QUICK = {
    # Components look for work more often than they would have to in real life.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    # For files that changed while they were parsed; less, and the processor takes a core from those under test.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
}


class Stack:
    """A running Airflow.

    Attributes:
        home: imagemill's home, with the datasets.
        specs: Folder of the specs.
        url: Of Airflow's UI and REST API.
        passwords: By user.
        environment: Of every component; children of tests that belong to this Airflow need it too.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.home, self.airflow_home = folder / "home", folder / "airflow"
        # A project of its own: its DAG files can be touched.
        self._dags = folder / "dags"
        self.specs = self._dags / "datasets"
        (port,) = free_ports(1)
        self.url = f"http://localhost:{port}"
        self.passwords = {user: secrets.token_urlsafe(12) for user in USERS}
        self._tokens: dict[str, str] = {}
        self._folder = folder
        self._servers: dict[str, Server] = {}
        self._running: dict[str, ExitStack] = {}
        passwords = folder / "passwords.json"
        for each in (self.home, self.specs, self.airflow_home):
            each.mkdir(parents=True, exist_ok=True)
        for file in dags_folder(self.specs).glob("*.py"):
            shutil.copy(file, self._dags)
        passwords.write_text(json.dumps(self.passwords))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "IMAGEMILL"))}
        self.environment = (
            kept
            | airflow_environment(specs=self.specs, home_folder=self.home, airflow_home=self.airflow_home)
            | api_environment(port)
            | {
                "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
                "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            }
            | environment
        )

    def start(self, component: str) -> None:
        """Starts one of the four components."""
        command = [sys.executable, "-m", "airflow", *COMPONENTS[component]]
        self._running[component] = holder = ExitStack()
        log = self._folder / f"{component}.log"
        self._servers[component] = holder.enter_context(running(component, command, log=log, env=self.environment))

    def stop(self, component: str) -> None:
        """Ends a component and whatever its session holds."""
        self._servers.pop(component)
        self._running.pop(component).close()

    def kill(self, component: str) -> None:
        """Ends a component and its session without a chance to tidy up, as when their machine is lost."""
        process = self._servers[component].process
        while members := session_members(process.pid):
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            process.poll()
        self.stop(component)

    def stop_all(self) -> None:
        """Ends every component, the scheduler before those that its tasks talk to."""
        for component in ("scheduler", "triggerer", "dag-processor", "api-server"):
            if component in self._running:
                self.stop(component)

    def processes(self) -> list[psutil.Process]:
        """Returns every living process that was started for this Airflow, in whatever session."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("AIRFLOW_HOME") == str(self.airflow_home)
        except psutil.Error:  # gone meanwhile, or somebody else's
            return False

    def api(self, method: str, path: str, body: Any = None, *, user: str = "ann") -> httpx.Response:
        """Calls Airflow's REST API as a user who has logged in."""
        headers = {"Authorization": f"Bearer {self._token(user)}"}
        for _ in range(TRIES):
            answer = httpx.request(method, f"{self.url}/api/v2/{path}", json=body, headers=headers, timeout=60)
            if answer.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                return answer
        raise RuntimeError(f"{method} {path}: {answer.text}\n{self._servers['api-server'].tail()}")

    def _token(self, user: str) -> str:
        if user not in self._tokens:
            login = {"username": user, "password": self.passwords[user]}
            answer = httpx.post(f"{self.url}/auth/token", json=login, timeout=60)
            self._tokens[user] = answer.raise_for_status().json()["access_token"]
        return self._tokens[user]

    def get(self, path: str) -> Any:
        return self.api("GET", path).raise_for_status().json()

    def spec(self, name: str, text: str) -> str:
        """Writes a spec, waits for its DAG, lets it run, and returns the DAG's id."""
        self.write_spec(name, text)
        load_spec(self.specs / f"{name}.yaml")  # a fault is told here, and not by a DAG that stands for it
        return self.unpause(f"refresh_{name}")

    def write_spec(self, name: str, text: str) -> None:
        """Writes a spec, sound or not, and has it found soon: Airflow parses a DAG file anew as soon as it changed."""
        (self.specs / f"{name}.yaml").write_text(text)
        for file in self._dags.glob("*.py"):
            file.touch()

    def unpause(self, dag_id: str) -> str:
        """Waits for a DAG, lets it run, and returns its id."""
        self.wait(lambda: self.api("GET", f"dags/{dag_id}").status_code == 200, f"{dag_id} to appear")
        self.api("PATCH", f"dags/{dag_id}", {"is_paused": False}).raise_for_status()
        return dag_id

    def trigger(self, dag_id: str, *, user: str = "ann", **conf: Any) -> str:
        """Starts a run and returns its id."""
        answer = self.api("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf}, user=user)
        return str(answer.raise_for_status().json()["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.get(f"dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.get(f"dags/{dag_id}/dagRuns?order_by=run_after")["dag_runs"])

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Returns the state of each task."""
        return {task: details["state"] for task, details in self.tasks(dag_id, run_id).items()}

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        instances = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {each["task_id"]: each for each in instances}

    def finished(self, dag_id: str, run_id: str, *, seconds: float = 300) -> str:
        """Waits for a run's end and returns its state."""
        self.wait(lambda: self.run(dag_id, run_id)["state"] in ENDED, f"{run_id} to end", seconds=seconds)
        return str(self.run(dag_id, run_id)["state"])

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Has tasks of a run done again; without any, all of them."""
        body: dict[str, Any] = {"dag_run_id": run_id, "dry_run": False, "only_failed": False}
        if task_ids:
            body["task_ids"] = task_ids
        self.api("POST", f"dags/{dag_id}/clearTaskInstances", body).raise_for_status()

    def result(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Returns what a task returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path + "?deserialize=true")["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> str:
        """Returns a task's log as a person sees it."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}?full_content=true"
        content = self.get(path)["content"]
        return "\n".join(str(line.get("event", line)) if isinstance(line, dict) else str(line) for line in content)

    def logged(self, component: str, *words: str) -> bool:
        """Tells whether a line of a component's log has all these words."""
        log = self._servers[component].log.read_text(errors="replace")
        return any(all(word in line for word in words) for line in log.splitlines())

    def wait(self, ready: Callable[[], bool], what: str, *, seconds: float = 180) -> None:
        """Waits for what only the whole Airflow brings about.

        Raises:
            RuntimeError: It did not come; the message holds the end of each component's log.
        """
        try:
            wait_until(_seldom(ready), *self._servers.values(), seconds=seconds)
        except RuntimeError as error:
            raise RuntimeError(f"waited for {what}: {error}") from error


def _seldom(ready: Callable[[], bool]) -> Callable[[], bool]:
    # Each question costs the API server what the run under test needs.
    def ask() -> bool:
        if ready():
            return True
        time.sleep(0.2)
        return False

    return ask


@contextmanager
def airflow_stack(
    folder: Path, environment: Mapping[str, str] | None = None, *, as_in_real_life: bool = False
) -> Iterator[Stack]:
    """Starts an Airflow in a folder and ends it; nothing of it may be left.

    Args:
        folder: An empty folder.
        environment: More settings, connections among them.
        as_in_real_life: Whether the components look for work no more often than Airflow's defaults have them do.
    """
    stack = Stack(folder, ({} if as_in_real_life else QUICK) | (environment or {}))
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    with running("migrate", migrate, log=folder / "migrate.log", env=stack.environment) as server:
        if server.process.wait() != 0:
            raise RuntimeError(server.tail())
    try:
        for component in COMPONENTS:
            stack.start(component)
        stack.wait(lambda: _healthy(stack), "all components to be healthy", seconds=120)
        yield stack
    finally:
        stack.stop_all()
        left, deadline = stack.processes(), time.monotonic() + 15
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            left = stack.processes()
        for process in left:
            process.kill()
    if left:
        raise RuntimeError(f"these outlived their Airflow: {left}")


def _healthy(stack: Stack) -> bool:
    try:
        answer = httpx.get(f"{stack.url}/api/v2/monitor/health", timeout=5)
    except httpx.TransportError:
        return False
    parts = answer.json() if answer.status_code == 200 else {}
    return {parts.get(name, {}).get("status") for name in ("scheduler", "dag_processor", "triggerer")} == {"healthy"}
