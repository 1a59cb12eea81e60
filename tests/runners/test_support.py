"""What the tests of the runners stand on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.runners import INSTALLED, WORKER, require
from tests.support.servers import free_ports, running, session_members, wait_for_port, wait_until

MISSING = INSTALLED / "missing"


def test_what_is_missing_skips(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("IMAGEMILL_REQUIRE_RUNNERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="missing: run 'make runners'"):
        require(MISSING)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("IMAGEMILL_REQUIRE_RUNNERS", "1")])
def test_what_must_be_there_fails(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(pytest.fail.Exception, match="missing: run 'make runners'"):
        require(MISSING)


def test_the_worker_has_beam_and_not_this_project(tmp_path):
    require(WORKER)
    names = ["apache_beam", "imagemill", "beam_jobs"]
    probe = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    command = [str(WORKER / "bin" / "python"), "-c", probe]
    found = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['apache_beam']"


def test_a_server_ends_with_what_it_started_in_another_group(tmp_path):
    (port,) = free_ports(1)
    serve = f"""
import subprocess, sys
subprocess.Popen(["sleep", "600"], process_group=0)
subprocess.run([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"])
"""
    with running("server", [sys.executable, "-c", serve], log=tmp_path / "log") as server:
        wait_for_port(port, server)
        session = server.process.pid
        assert len(session_members(session)) == 3
    assert session_members(session) == []


def test_a_server_that_ends_early_shows_its_log(tmp_path):
    with (
        running("server", [sys.executable, "-c", "raise SystemExit('no such file')"], log=tmp_path / "log") as server,
        pytest.raises(RuntimeError, match=r"(?s)ended before it was ready.*no such file"),
    ):
        wait_until(lambda: False, server)
