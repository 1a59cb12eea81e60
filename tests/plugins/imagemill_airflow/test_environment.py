"""The settings of Airflow on one machine, printed and handed to a command."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from imagemill_airflow.environment import dags_folder, free_port

MODULE = [sys.executable, "-m", "imagemill_airflow.environment"]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dags" / "datasets").mkdir(parents=True)
    return tmp_path


def clean():
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "IMAGEMILL"))}


def test_settings_point_into_the_project(project):
    output = subprocess.check_output([*MODULE, "--port", "18099"], cwd=project, env=clean(), text=True)
    settings = dict(shlex.split(line)[1].split("=", 1) for line in output.splitlines())
    assert settings["AIRFLOW_HOME"] == str(project / ".imagemill" / "airflow")
    assert settings["IMAGEMILL_SPECS"] == str(project / "dags" / "datasets")
    assert settings["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://localhost:18099/execution/"


def test_a_command_runs_with_them_and_keeps_its_exit_code(project):
    script = "import json, os, sys; print(json.dumps(dict(os.environ))); sys.exit(7)"
    done = subprocess.run(
        [*MODULE, "--", sys.executable, "-c", script],
        cwd=project,
        env=clean(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    seen = json.loads(done.stdout)
    assert seen["IMAGEMILL_HOME"] == str(project / ".imagemill")
    assert seen["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert "Airflow's UI: http://localhost:" in done.stderr


# Like `airflow standalone`, it has a child; unlike it, neither of them ends when it is asked to.
STUBBORN = """
import signal, subprocess, sys, time
for asked in (signal.SIGINT, signal.SIGTERM):
    signal.signal(asked, signal.SIG_IGN)
if "child" not in sys.argv:
    child = subprocess.Popen([sys.executable, *sys.orig_argv[1:], "child"])
    print(child.pid, flush=True)
time.sleep(600)
"""


# As a shell starts it: `cmd &` in a script ignores SIGINT, `nohup cmd` SIGHUP, anything else neither.
IMPATIENT = """
import signal, sys

ignored, sys.argv[1:2] = sys.argv[1].split(), []
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN if name in ignored else signal.SIG_DFL)

from imagemill_airflow import environment
environment.GRACE_SECONDS = 0.5
sys.exit(environment.main())
"""


@contextlib.contextmanager
def stubborn_command(project, *, ignoring=""):
    """Yields a process that ignores a signal from its start, and its child, which does not end when asked."""
    command = [sys.executable, "-c", IMPATIENT, ignoring, "--", sys.executable, "-c", STUBBORN]
    process = subprocess.Popen(command, cwd=project, env=clean(), stdout=subprocess.PIPE)
    try:
        yield process, psutil.Process(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_of_a_command_outlives_it(project, asked):
    with stubborn_command(project) as (process, child):
        process.send_signal(asked)
        assert process.wait(timeout=60) == 130
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_scripts_background_command_ends_when_interrupted(project):
    with stubborn_command(project, ignoring="SIGINT") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


def test_a_command_under_nohup_outlives_its_terminal(project):
    with stubborn_command(project, ignoring="SIGHUP") as (process, child):
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        assert child.is_running()


def test_specs_that_are_nowhere_are_the_callers_mistake(project):
    environment = clean() | {"IMAGEMILL_SPECS": str(project / "none")}
    done = subprocess.run(MODULE, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "none" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_projects_own_dag_file_comes_before_the_installed_one(project):
    assert dags_folder(project / "dags" / "datasets") != project / "dags"
    (project / "dags" / "dataset_refresh.py").touch()
    assert dags_folder(project / "dags" / "datasets") == project / "dags"


def test_a_taken_port_is_not_chosen():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port
