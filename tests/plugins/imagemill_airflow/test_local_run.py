"""The command behind `imagemill refresh`: what it refuses before Airflow starts, and how it is stopped."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

MODULE = [sys.executable, "-m", "imagemill_airflow.local_run"]

SPEC = "name: {name}\nsource: {{type: shapes, train: 20, test: 10}}\nsplits: {{names: [train, test]}}\n{more}\n"


@pytest.fixture
def project(tmp_path):
    specs = tmp_path / "dags" / "datasets"
    specs.mkdir(parents=True)
    (specs / "dots.yaml").write_text(SPEC.format(name="dots", more=""))
    (specs / "gated.yaml").write_text(SPEC.format(name="gated", more="approval: required"))
    return tmp_path


def command(project, *arguments):
    return [*MODULE, *arguments, "--home", str(project / "home"), "--summary", str(project / "summary.json")]


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "IMAGEMILL"))}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["dotz"], "dots", id="a dataset that is not there"),
        pytest.param(["gated"], "--approve", id="an approval that nobody can give"),
        pytest.param(["dots", "--limit", "-1"], "from 1 up", id="a negative limit"),
        pytest.param(["dots", "--shards", "0"], "from 1 up", id="no shard"),
        pytest.param(["dots", "--runner", "spark"], "prism", id="an unknown runner"),
    ],
)
def test_nonsense_is_refused_before_airflow_starts(project, arguments, says):
    done = subprocess.run(
        command(project, *arguments), cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "home").exists()


def jobs(project):
    """Returns the Beam jobs that write the project's versions."""
    lines = {process.pid: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    return [pid for pid, line in lines.items() if "convert_images.py" in str(line) and str(project) in str(line)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["signal", "stdin"])
def test_a_stopped_run_leaves_no_job_and_publishes_nothing(project, way):
    arguments = ["dots"] if way == "signal" else ["dots", "--end-with-stdin"]
    with subprocess.Popen(
        command(project, *arguments), cwd=project, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        for line in run.stderr:
            if line.startswith(b"plan_conversion"):
                break
        while not (running := jobs(project)) and run.poll() is None:
            os.sched_yield()
        assert running, run.stderr.read().decode()
        if way == "signal":
            run.send_signal(signal.SIGTERM)
        else:
            run.stdin.close()
        run.stderr.read()
    assert run.returncode == 130
    while jobs(project):  # a job that lives on meets the test's timeout
        os.sched_yield()
    assert json.loads((project / "summary.json").read_text())["failure"]["family"] == "interrupted"
    assert not (project / "home" / "datasets" / "dots" / "CURRENT").exists()
