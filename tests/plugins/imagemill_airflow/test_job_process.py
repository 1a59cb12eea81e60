"""Real processes: what is stopped is gone, with all that it started."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from imagemill_airflow.job_process import JobProcess

# Says its child's pid, then waits for ever; the child holds the pipe open.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def python(script):
    return [sys.executable, "-c", textwrap.dedent(script)]


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_death(pid):
    """Waits through the kernel, not by the clock: a process that never ends meets the test's timeout."""
    while is_alive(pid):
        os.sched_yield()


def test_lines_and_exit_code():
    job = JobProcess(python("import sys; print('a'); print('b', file=sys.stderr, flush=True); sys.exit(3)"))
    assert sorted(job.lines()) == ["a", "b"]
    assert job.wait() == 3


@pytest.mark.timeout(60)
def test_without_a_guard_nothing_is_started(monkeypatch, tmp_path):
    """It could outlive its parent; and whoever waited for it would wait for ever."""
    monkeypatch.setenv("PATH", "")  # no `sh`
    pid = tmp_path / "pid"
    with pytest.raises(FileNotFoundError, match="'sh'"):
        JobProcess(python(f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"))
    assert not pid.exists() or not is_alive(int(pid.read_text() or -1))


@pytest.mark.timeout(60)
def test_a_flood_on_stdout_beside_stderr_does_not_hang():
    # The provider's own launch drains stderr first, and hangs for ever on this.
    job = JobProcess(python("import sys; print('first', file=sys.stderr, flush=True); print('x' * 1_000_000)"))
    assert sum(map(len, job.lines())) == 1_000_005


def test_bytes_that_are_no_text_are_shown_and_kill_nothing():
    job = JobProcess(python(r"import os; os.write(2, b'caf\xe9\n')"))
    assert list(job.lines()) == ["caf\ufffd"]


def test_stop_ends_the_children_too():
    job = JobProcess(python(FAMILY))
    lines = job.lines()
    child = int(next(lines))
    job.stop()
    assert list(lines) == []
    assert job.wait() == -signal.SIGTERM
    wait_for_death(child)


def test_stop_ends_what_ignores_the_request(monkeypatch):
    monkeypatch.setattr("imagemill_airflow.job_process.GRACE_SECONDS", 0.2)
    ignore = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    job = JobProcess(python(ignore))
    assert next(job.lines()) == "deaf"
    job.stop()
    assert job.wait() == -signal.SIGKILL


def test_a_command_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        JobProcess(["no-such-command"])


def test_stop_after_the_end_does_nothing():
    job = JobProcess(python("pass"))
    assert list(job.lines()) == []
    assert job.wait() == 0
    job.stop()


def test_an_orphan_that_keeps_the_pipe_open_keeps_nobody_waiting():
    job = JobProcess(python(FAMILY.replace("time.sleep(600)\n", "sys.exit(0)\n")))
    (child,) = job.lines()
    assert job.wait() == 0
    wait_for_death(int(child))


@pytest.mark.timeout(60)
def test_a_killed_parent_takes_the_job_with_it():
    script = f"""
    from imagemill_airflow.job_process import JobProcess
    job = JobProcess({python(FAMILY)!r})
    for line in job.lines():
        print(line, flush=True)
    """
    with subprocess.Popen(python(script), stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(is_alive, pids))
        parent.kill()
    for pid in pids:
        wait_for_death(pid)
