"""The settings with which Airflow runs imagemill's DAGs on one machine, in one place.

`python -m imagemill_airflow.environment -- airflow standalone` runs a command with them; without a command the
settings are printed, for `eval`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from imagemill import home
from imagemill.errors import ImagemillError

DAG_FILE = "dataset_refresh.py"

DEFAULT_PORT = 8080

GRACE_SECONDS = 15.0
"""Time for Airflow's parts to end by themselves, and again when each of them is asked to."""

_INTERRUPTED = 130  # as shells have it


def airflow_environment(*, specs: Path, home_folder: Path, airflow_home: Path) -> dict[str, str]:
    """Returns the variables that every Airflow process of this machine needs.

    The plugins folder is not among them: this package is installed, and Airflow need not search for it.

    Args:
        specs: Folder of the dataset specs.
        home_folder: imagemill's own home, for staging, datasets and work that the specs do not place elsewhere.
        airflow_home: Folder of Airflow's database, configuration and logs.
    """
    return {
        home.HOME_VARIABLE: str(home_folder),
        home.SPECS_VARIABLE: str(specs),
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder(specs)),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # One person on one machine, loopback only: no login.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__HOST": "127.0.0.1",
        # Airflow's default forks 32 idle workers; a refresh runs one task at a time.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def api_environment(port: int) -> dict[str, str]:
    """Returns the variables that put the API server on a port, and point the workers at it."""
    return {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
    }


def dags_folder(specs: Path) -> Path:
    """Returns the folder of the DAG file: the specs' own project, or the checkout that this package comes from."""
    beside = specs.parent
    return beside if (beside / DAG_FILE).is_file() else Path(__file__).parents[2] / "dags"


def free_port(preferred: int = DEFAULT_PORT) -> int:
    """Returns the preferred port of the loopback interface, or any free one where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the settings, or runs the given command with them and returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m imagemill_airflow.environment", description=__doc__)
    parser.add_argument("--port", type=int, help=f"port of Airflow's UI; by default {DEFAULT_PORT}, or any free one")
    parser.add_argument("command", nargs="*", help="what to run; without one, `export` lines are printed")
    options = parser.parse_args(arguments)
    try:
        specs = home.specs_dir()
    except ImagemillError as error:
        print(f"imagemill: {error}", file=sys.stderr)
        return error.exit_code
    folder = home.home(specs)
    settings = airflow_environment(specs=specs, home_folder=folder, airflow_home=folder / "airflow")
    settings |= api_environment(options.port or free_port())
    if options.command:
        print(f"Airflow's UI: {settings['AIRFLOW__API__BASE_URL']}", file=sys.stderr)
        return _run(options.command, settings)
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items()))
    return 0


def _run(command: list[str], settings: dict[str, str]) -> int:
    """Runs a command to its end, and leaves nothing of it behind when this process is asked to end before."""
    # Airflow finds its own parts (`airflow scheduler`, workers' Python) by name.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A script's background commands inherit that SIGINT is ignored, yet this one must end when asked.
        # Who ignores SIGHUP is `nohup`, and means it.
        if asked != signal.SIGHUP or signal.getsignal(asked) != signal.SIG_IGN:
            signal.signal(asked, signal.default_int_handler)
    # In a session of its own: Ctrl-C would reach all parts at once, and `airflow standalone` then waits for ever.
    process = subprocess.Popen(command, env=os.environ | settings | {"PATH": path}, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _end(process)
        return _INTERRUPTED
    return code if code >= 0 else 128 - code


def _end(process: subprocess.Popen[bytes]) -> None:
    # `airflow standalone` ends its parts when it is interrupted, and only then.
    process.send_signal(signal.SIGINT)
    try:
        if not _is_gone(process):
            os.killpg(process.pid, signal.SIGTERM)
            _is_gone(process)
    finally:  # also when a person is asked for too much patience, and asks again
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_gone(process: subprocess.Popen[bytes]) -> bool:
    """Waits for the end of all processes of the command's group, and tells whether it came."""
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
