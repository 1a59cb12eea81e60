from __future__ import annotations

import os
import subprocess
import sys

import pytest

from imagemill.plan import PLAN
from imagemill.worker_wheel import build_worker_wheel
from tests.support import conversions
from tests.support.conversions import stray_objects
from tests.support.flink.cluster import flink_cluster
from tests.support.prism import prism_options
from tests.support.runners import BOOT, FLINK, JOB_SERVER, PRISM, ROOT, WORKER, require


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    return build_worker_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def prism():
    require(PRISM)
    return prism_options(PRISM)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, wheel):
    require(BOOT, FLINK, JOB_SERVER, WORKER)
    with flink_cluster(tmp_path_factory.mktemp("flink"), package=wheel) as cluster:
        yield cluster


@pytest.fixture
def flink(cluster):
    yield cluster
    print(cluster.logs())  # pytest shows it where the test failed


@pytest.fixture
def mixture(tmp_path):
    return conversions.mixture(tmp_path / "input")


@pytest.fixture
def convert(tmp_path):
    """Plans a version and runs the job as a process of its own, as the CLI and Airflow do; returns the folder."""

    def run(
        inputs,
        name,
        *options,
        job=("-m", "beam_jobs.convert_images"),
        meanwhile=lambda version: None,
        stopped=False,
        expected=0,
        **planning,
    ):
        version = tmp_path / "versions" / name
        inputs.plan(version, **planning)
        log = tmp_path / f"{name}.log"
        command = [sys.executable, *job, "--plan", str(version / PLAN), *options]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=output, stderr=output)
            try:
                meanwhile(version)
                if stopped:
                    process.terminate()
                process.wait()
            finally:
                process.kill()
                process.wait()
        assert process.returncode == expected, log.read_text()[-6000:]
        assert expected or stray_objects(version) == set()
        return version

    return run
