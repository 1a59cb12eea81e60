"""Whoever dies when: one job is paid for, or the live one is cancelled, and the version is whole at last."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from imagemill.catalog import read_manifest
from tests.dataflow.conftest import left_running
from tests.support.dataflow.troubles import CPU_QUOTA, NO_MACHINES, ApiTrouble, JobTrouble
from tests.support.servers import wait_until

HELD = JobTrouble(held=True)


def wait_for_launcher(version, process):
    wait_until(lambda: "INFO __main__" in version.log, version.server(process))


def wait_for_bookkeeping(version, process):
    wait_until(lambda: "dataflow_job_id" in version.state, version.server(process))


def start_and_hold(version, trouble=HELD, **task):
    """Starts a try and waits until its job runs, is held, and its id is kept."""
    version.standin.trouble(trouble)
    process = version.start(**task)
    wait_for_bookkeeping(version, process)
    return process


def lose(version, trouble=HELD, **task):
    """Has a try die while its job runs, which then goes on."""
    kill(start_and_hold(version, trouble, **task))
    version.standin.release()


def kill(process):
    """Kills the task as the kernel does; what it started has to notice by itself."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not launchers(process), seconds=20)


def launchers(process):
    """Returns the launchers that a task has left behind: they are in sessions of their own."""
    folder = str(process.args[-1])
    return [each for each in psutil.process_iter() if _launches(each, folder)]


def _launches(process, folder):
    try:
        job = any("convert_images.py" in part for part in process.cmdline())
        return job and process.environ().get("IMAGEMILL_TEST_FOLDER") == folder
    except psutil.Error:
        return False


def assert_paid_once(version):
    assert version.states() == ["DONE"]
    assert version.standin.most_live(version.jobs()[0]["name"]) == 1
    assert read_manifest(version.plan["version_uri"]).records == 50


def test_killed_before_submission(conversion):
    version = conversion()
    process = version.start()
    wait_for_launcher(version, process)
    kill(process)
    assert version.jobs() == []
    assert version.run()["result"]["converted"]
    assert_paid_once(version)


def test_killed_after_submission_before_the_id_is_kept(standin, conversion):
    version = conversion()
    standin.trouble(ApiTrouble(method="create", status=200, late_seconds=60), HELD)
    process = version.start()
    version.wait_for("RUNNING", task=process)
    kill(process)
    assert version.state == {}
    standin.release()
    assert version.run()["result"]["converted"]
    assert_paid_once(version)


def test_killed_while_the_job_runs(conversion):
    version = conversion()
    lose(version)
    assert version.run()["result"]["dataflow_job_id"] == version.jobs()[0]["id"]
    assert_paid_once(version)


def test_cleared_while_the_triggerer_waits_and_before_it_cancels(standin, conversion):
    version = conversion()
    standin.trouble(HELD)
    process = version.start(deferrable=True)
    wait_until(lambda: "RUNNING: 0 of 3 shards" in version.log, version.server(process))
    kill(process)
    assert version.run(deferrable=True)["result"]["converted"]
    assert version.states() == ["CANCELLED", "DONE"]
    assert standin.most_live(version.jobs()[0]["name"]) == 1
    assert "nobody waits for the Dataflow job" in version.log


def test_killed_and_the_job_succeeds_meanwhile(conversion):
    version = conversion()
    lose(version)
    version.wait_for("DONE")
    assert version.run()["result"]["converted"] is False
    assert_paid_once(version)


def test_killed_and_the_job_fails_meanwhile(conversion):
    version = conversion()
    lose(version, JobTrouble(message=CPU_QUOTA, held=True))
    version.wait_for("FAILED")
    late = version.run()
    assert late["family"] == "caller", "what no retry heals is told, and not paid for again"
    assert version.states() == ["FAILED"]
    assert version.run()["result"]["converted"], "a person has cleared the task: a new job"
    assert version.states() == ["FAILED", "DONE"]


def test_killed_and_the_job_fails_for_a_while(conversion):
    version = conversion()
    lose(version, JobTrouble(message=NO_MACHINES, held=True))
    version.wait_for("FAILED")
    assert version.run()["result"]["converted"]
    assert version.states() == ["FAILED", "DONE"]


def test_another_runs_failure_is_not_this_runs(standin, conversion):
    version = conversion()
    standin.trouble(JobTrouble(message=CPU_QUOTA))
    assert version.run()["family"] == "caller"
    (version.folder / "state.json").unlink()
    assert version.run(run_id="two")["result"]["converted"]
    assert version.states() == ["FAILED", "DONE"]


# --- stopped on purpose ------------------------------------------------------------------------------------------


def test_stopped_while_launching(conversion):
    version = conversion()
    process = version.start()
    wait_for_launcher(version, process)
    process.terminate()
    assert version.outcome(process, seconds=10)["family"] == "temporary"
    assert launchers(process) == []
    assert left_running(process) == []
    assert version.jobs() == []


def test_stopped_between_submission_and_bookkeeping(standin, conversion):
    version = conversion()
    standin.trouble(ApiTrouble(method="create", status=200, late_seconds=60), HELD)
    process = version.start()
    version.wait_for("RUNNING", task=process)
    process.terminate()
    assert "result" not in version.outcome(process, seconds=15)
    version.wait_for("CANCELLED", seconds=5)
    assert launchers(process) == []


def test_stopped_while_the_job_runs(standin, conversion):
    version = conversion()
    process = start_and_hold(version)
    process.terminate()
    ended = version.outcome(process, seconds=10)
    assert (ended["family"], version.states()) == ("temporary", ["CANCELLED"])
    assert "was cancelled: its task was stopped" in ended["message"]
    assert version.run()["result"]["converted"]
    assert version.states() == ["CANCELLED", "DONE"]
    assert standin.most_live(version.jobs()[0]["name"]) == 1


def test_a_task_that_takes_too_long_cancels_its_job(conversion):
    version = conversion()
    process = start_and_hold(version)
    process.send_signal(signal.SIGALRM)  # what Airflow's clock sends
    ended = version.outcome(process)
    assert (ended["kind"], version.states()) == ("AirflowTaskTimeout", ["CANCELLED"])


@pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])
def test_a_try_that_none_follows_leaves_no_job_that_bills_on(standin, conversion, deferrable):
    version = conversion()
    process = start_and_hold(version, deferrable=deferrable)
    standin.trouble(ApiTrouble(method="get", status=403, message="Permission denied", times=-1))
    ended = version.outcome(process)
    assert ended["family"] == "caller", ended
    assert "no permission for Dataflow" in ended["message"]
    version.wait_for("CANCELLED")


@pytest.mark.parametrize(("number", "state"), [(1, "RUNNING"), (5, "CANCELLED")], ids=["first try", "last try"])
def test_a_temporary_fault_leaves_the_job_to_the_next_try_if_there_is_one(standin, conversion, number, state):
    version = conversion()
    kill(start_and_hold(version))
    standin.trouble(ApiTrouble(method="list", times=3))  # as often as one question is repeated
    assert version.run(try_number=number)["family"] == "temporary"
    version.wait_for(state)


def test_a_job_that_somebody_cancels_is_not_submitted_again(standin, conversion):
    version = conversion()
    process = start_and_hold(version)
    standin.cancel(version.jobs()[0]["id"])
    ended = version.outcome(process)
    assert (ended["family"], version.states()) == ("caller", ["CANCELLED"])
    assert "ended CANCELLED: somebody stopped it; clear the task" in ended["message"]


# --- two at once, and a launcher that does not hear the answer ---------------------------------------------------


def test_two_tries_at_once_share_one_job(standin, conversion):
    version = conversion()
    standin.trouble(HELD)
    first, second = version.start(), version.start()
    version.wait_for("RUNNING")
    wait_for_bookkeeping(version, first)
    standin.release()
    for process in (first, second):
        assert process.wait(120) == 0, version.log[-4000:]
    assert_paid_once(version)


def test_a_launcher_that_loses_the_answer_pays_once(standin, conversion):
    version = conversion()
    standin.trouble(ApiTrouble(method="create", status=0))
    assert version.run()["result"]["converted"], version.log[-4000:]
    assert_paid_once(version)


def test_a_job_that_is_being_cancelled_is_awaited(standin, conversion):
    version = conversion()
    process = start_and_hold(version, JobTrouble(held=True, slow_to_cancel=True))
    process.terminate()
    version.wait_for("CANCELLING")
    kill(process)
    again = version.start()
    wait_until(lambda: "is being cancelled" in version.log, standin.server)
    standin.release()
    assert version.outcome(again)["result"]["converted"]
    assert version.states() == ["CANCELLED", "DONE"]
    assert standin.most_live(version.jobs()[0]["name"]) == 1
