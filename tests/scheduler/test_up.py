"""`make up`: a whole Airflow that one person starts, and ends by Ctrl-C or a signal."""

from __future__ import annotations

import os
import signal
import sys

import httpx
import psutil
import pytest

from tests.support.servers import free_ports, running, wait_until

pytestmark = pytest.mark.timeout(400)


def parts(home):
    """Returns the living processes of the Airflow in a folder."""
    return [process for process in psutil.process_iter() if _belongs(process, str(home))]


def _belongs(process, home):
    try:
        return process.environ().get("AIRFLOW_HOME") == home and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # gone meanwhile, or somebody else's
        return False


def healthy(url):
    try:
        answer = httpx.get(f"{url}/api/v2/monitor/health", timeout=5)
    except httpx.TransportError:
        return False
    names = ("scheduler", "dag_processor", "triggerer")
    return answer.status_code == httpx.codes.OK and {answer.json()[name]["status"] for name in names} == {"healthy"}


def test_up_ends_with_all_its_parts(tmp_path):
    (tmp_path / "dags" / "datasets").mkdir(parents=True)
    (port,) = free_ports(1)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "IMAGEMILL"))}
    command = [
        sys.executable,
        "-m",
        "imagemill_airflow.environment",
        "--port",
        str(port),
        "--",
        "airflow",
        "standalone",
    ]
    home = tmp_path / ".imagemill" / "airflow"
    with running("up", command, log=tmp_path / "up.log", env=clean) as server:
        wait_until(lambda: healthy(f"http://localhost:{port}"), server, seconds=240)
        assert len(parts(home)) >= 5
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=90) == 130, server.tail()
        assert parts(home) == [], server.tail()
