"""The old end of what is supported: Airflow 3.3.1 with Beam provider 6.2.3, as Composer has them (`make composer-env`).

The new end is the locked environment, in which the other tests run.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.dataflow.conftest import left_running
from tests.support.composer import PYTHON, require_composer
from tests.support.dataflow.troubles import JobTrouble
from tests.support.servers import wait_until

OLDEST = {"apache-airflow": "3.3.1", "apache-airflow-providers-apache-beam": "6.2.3"}


@pytest.fixture(scope="module")
def oldest():
    require_composer()
    return PYTHON


@pytest.fixture
def old_conversion(conversion, oldest):
    def make(number=0, **settings):
        version = conversion(number, **settings)
        version.python = oldest
        return version

    return make


def test_it_is_the_old_end(oldest):
    script = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([oldest, "-c", script, *OLDEST], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(OLDEST, found, strict=True)) == OLDEST


def test_it_converts_once(old_conversion):
    version = old_conversion()
    ended = version.run(deferrable=True)
    assert ended.get("result", {}).get("converted"), (ended, version.log[-3000:])
    assert version.states() == ["DONE"]
    assert version.run()["result"]["converted"] is False


def test_it_joins_and_it_cancels(standin, old_conversion):
    version = old_conversion()
    standin.trouble(JobTrouble(held=True))
    first = version.start()
    wait_until(lambda: "dataflow_job_id" in version.state, version.server(first))
    first.kill()
    first.wait()
    second = version.start()
    wait_until(lambda: "this try joins it" in version.log, version.server(second))
    second.terminate()
    assert "its task was stopped" in version.outcome(second, seconds=15)["message"]
    assert version.states() == ["CANCELLED"]
    assert left_running(second) == []
