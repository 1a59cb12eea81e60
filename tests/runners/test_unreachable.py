"""A job whose runner is not there."""

from __future__ import annotations

import json

from imagemill.errors import FAILURE, TemporaryFault
from imagemill.manifest import MANIFEST
from tests.support.servers import LOOPBACK, free_ports


def test_a_runner_that_is_not_there_is_a_temporary_fault_that_says_where_to_look(mixture, convert, tmp_path):
    (port,) = free_ports(1)
    options = ("--runner=PortableRunner", f"--job_endpoint={LOOPBACK}:{port}", "--job_server_timeout=1")
    version = convert(mixture, "nowhere", *options, expected=TemporaryFault.exit_code)
    last = (tmp_path / "nowhere.log").read_text().splitlines()[-1]
    failure = json.loads(last.removeprefix(FAILURE))
    assert failure["family"] == TemporaryFault.family
    assert "the runner cannot be reached" in failure["message"]
    assert "--job_endpoint" in failure["message"]
    assert not (version / MANIFEST).exists()
