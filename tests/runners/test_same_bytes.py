"""The bytes of a version are the same on every runner."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.conversions import EXPECTED_REJECTS, Inputs, digests_of, manifest_of, picture

FAILING_JOB = """\
import sys
from pathlib import Path

import apache_beam as beam
from beam_jobs import convert_images, transforms


class FailOnce(beam.DoFn):  # of this script, not of a module: so the class itself travels to the workers
    def __init__(self, work):
        self._work = work

    def setup(self):
        from beam_jobs.step_fns import WriteShardFn

        self._writer = WriteShardFn(self._work)
        self._writer.setup()

    def process(self, shard):
        yield from self._writer.process(shard)
        failed = Path(self._work.version_uri).with_name(f"failed-{shard[0]}")
        if shard[0] == 2 and not failed.exists():
            failed.touch()
            raise OSError("failed on purpose after the shard was written")


if __name__ == "__main__":
    transforms.WriteShardFn = FailOnce
    sys.exit(convert_images.main())
"""


@pytest.fixture
def expected(mixture, convert):
    version = convert(mixture, "in process", "--runner=FnApiRunner")
    assert manifest_of(version).reject_reasons == EXPECTED_REJECTS
    return digests_of(version)


def test_on_prism(expected, mixture, convert, prism):
    mixture.write_index(shuffle=3)
    assert digests_of(convert(mixture, "prism", *prism, "--index_block_bytes=256")) == expected


def test_on_flink(expected, mixture, convert, flink):
    mixture.write_index(shuffle=4)
    two = convert(mixture, "flink", *flink.options(parallelism=2), "--index_block_bytes=256")
    assert digests_of(two) == expected
    one = convert(mixture, "flink one", *flink.options(parallelism=1))
    assert digests_of(one) == expected


def kill_a_writer(version):
    """Kills an SDK worker that is in the middle of a shard: it is stopped first, to be sure that it still is."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for path in version.glob(".imagemill-tmp-*"):
            pid = int(path.name.split("-")[-2])
            os.kill(pid, signal.SIGSTOP)
            if path.exists() and path.stat().st_size:
                os.kill(pid, signal.SIGKILL)
                return
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.005)
    pytest.fail("no worker was seen writing")


@pytest.fixture
def large(tmp_path):
    inputs = Inputs(tmp_path / "large")
    for number in range(2000):
        inputs.add_good(f"{number}.png", picture(number, size=(60, 60)))
    inputs.write_index()
    return inputs


@pytest.mark.timeout(600)
def test_flink_restarts_a_job_whose_worker_was_killed(large, convert, flink):
    expected = digests_of(convert(large, "in process"))
    killed = convert(large, "killed", *flink.options(parallelism=2), meanwhile=kill_a_writer)
    assert digests_of(killed) == expected


@pytest.mark.timeout(600)
def test_flink_restarts_a_job_that_failed_after_writing(large, convert, flink, tmp_path):
    expected = digests_of(convert(large, "in process"))
    job = tmp_path / "failing_job.py"
    job.write_text(FAILING_JOB)
    failing = convert(large, "failing", *flink.options(parallelism=2), job=[str(job)])
    assert [path.name for path in failing.parent.glob("failed-*")] == ["failed-2"]
    assert digests_of(failing) == expected
