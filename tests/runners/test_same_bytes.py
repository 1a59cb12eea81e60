"""The bytes of a version are the same on every runner."""

from __future__ import annotations

import os
import signal
import time

import pytest

from imagemill.errors import TemporaryFault
from imagemill.manifest import MANIFEST
from tests.support.conversions import EXPECTED_REJECTS, Inputs, digests_of, manifest_of, picture
from tests.support.servers import wait_until

pytestmark = pytest.mark.timeout(600)  # a cluster's jobs on a machine that has much else to do

FAILING_JOB = """\
import random, sys
from pathlib import Path

from beam_jobs import convert_images, transforms
from imagemill.errors import TemporaryFault

SEED, SHARE, AGAIN = int(sys.argv.pop(1)), float(sys.argv.pop(1)), sys.argv.pop(1) == "True"


def failing(step):  # of this script, not of a module: so the class itself travels to the workers
    name, seed, share = step.__name__, SEED, SHARE

    class FailsAtFirst(step):
        def process(self, element):
            outputs = list(step.process(self, element))
            mark = Path(self._work.version_uri).with_name(f"failed-{name}-{element[0]}")
            if random.Random(f"{seed} {mark.name}").random() < share and not mark.exists():
                mark.touch()
                raise TemporaryFault("failed on purpose, after the step was taken")
            yield from outputs

    return FailsAtFirst


if __name__ == "__main__":
    for step in ("ReadRowsFn", "ResolveRowsFn", "WriteShardFn", "CompareDigestsFn", "SortRejectsFn"):
        setattr(transforms, step, failing(getattr(transforms, step)))
    while (code := convert_images.main()) == TemporaryFault.exit_code and AGAIN:  # the whole job again, as Airflow does
        print("again", file=sys.stderr)
    sys.exit(code)
"""


@pytest.fixture
def failing_job(tmp_path):
    """Returns the command of a job of which a share of all elements fails at first, drawn by a seed."""
    job = tmp_path / "failing_job.py"
    job.write_text(FAILING_JOB)
    return lambda *, seed, share, again=True: [str(job), str(seed), str(share), str(again)]


def failed(version):
    return sorted(path.name.removeprefix("failed-") for path in version.parent.glob("failed-*"))


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
    before = flink.workers_started()
    two = convert(mixture, "flink", *flink.options(parallelism=2), "--index_block_bytes=256")
    assert digests_of(two) == expected
    one = convert(mixture, "flink one", *flink.options(parallelism=1))
    assert digests_of(one) == expected
    assert flink.workers_started() - before < 6  # one for each task manager and job; one for each stage would be 15


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


def test_flink_restarts_a_job_whose_worker_was_killed(large, convert, flink):
    expected = digests_of(convert(large, "in process"))
    killed = convert(large, "killed", *flink.options(parallelism=2), meanwhile=kill_a_writer)
    assert digests_of(killed) == expected


def test_flink_restarts_a_job_of_which_elements_fail(expected, mixture, convert, flink, failing_job, tmp_path):
    mixture.write_index(shuffle=7)
    job = failing_job(seed=393, share=0.15)  # few of them fail: each failure is a restart, later than the one before
    failing = convert(mixture, "failing", *flink.options(parallelism=2), job=job)
    assert failed(failing) == ["ResolveRowsFn-0", "WriteShardFn-1"]
    assert "again" not in (tmp_path / "failing.log").read_text().splitlines()  # Flink's restarts, not the script's
    assert digests_of(failing) == expected


def wait_for_a_failure(version):
    """Waits until an element has failed: the job then needs at least another six seconds, in which it restarts."""
    deadline = time.monotonic() + 300
    while not failed(version):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_launcher_that_is_stopped_cancels_its_job_on_flink(mixture, convert, flink, failing_job):
    job, stopped = failing_job(seed=393, share=1.0, again=False), TemporaryFault.exit_code
    options = flink.options(parallelism=2)
    version = convert(
        mixture, "stopped", *options, job=job, meanwhile=wait_for_a_failure, stopped=True, expected=stopped
    )
    wait_until(lambda: set(flink.states()) <= {"FINISHED", "FAILED", "CANCELED"})
    assert "CANCELED" in flink.states()
    assert not (version / MANIFEST).exists()


def wait_for_a_writer(version):
    deadline = time.monotonic() + 300
    while not list(version.glob(".imagemill-tmp-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_launcher_that_is_stopped_ends_its_job_on_prism(large, convert, prism):
    stopped = TemporaryFault.exit_code
    version = convert(large, "stopped", *prism, meanwhile=wait_for_a_writer, stopped=True, expected=stopped)
    assert not (version / MANIFEST).exists()


@pytest.mark.parametrize("processes", [1, 8])
def test_elements_that_fail_in_process(expected, mixture, convert, failing_job, processes):
    mixture.write_index(shuffle=6)
    options = ("--index_block_bytes=256", f"--worker_processes={processes}")
    failing = convert(mixture, "failing", *options, job=failing_job(seed=13, share=0.4))
    assert len({name.partition("-")[0] for name in failed(failing)}) == 5  # every kind of step
    assert digests_of(failing) == expected


def test_a_step_process_that_is_killed_fails_the_job_which_can_be_run_again(large, convert):
    expected = digests_of(convert(large, "in process"))
    again = ("--worker_processes=2",)
    convert(large, "killed", *again, meanwhile=kill_a_writer, expected=TemporaryFault.exit_code)
    assert digests_of(convert(large, "killed", *again)) == expected


def test_prism_fails_a_job_whose_worker_was_killed_which_can_be_run_again(large, convert, prism):
    expected = digests_of(convert(large, "in process"))
    killed = convert(
        large, "killed", *prism, "--worker_processes=2", meanwhile=kill_a_writer, expected=TemporaryFault.exit_code
    )
    assert not (killed / MANIFEST).exists()
    assert digests_of(convert(large, "killed", *prism)) == expected
