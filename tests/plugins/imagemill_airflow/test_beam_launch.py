"""The job's launch: what becomes of its lines, its exit code and its verdict."""

import json
import logging
import sys

import pytest

from tests.support.airflow_home import HOME, ROOT

from imagemill_airflow.beam_launch import BeamJobHook, JobCrashed, failure  # isort: skip  (after its settings)
from imagemill.errors import FAILURE, CallerError, TemporaryFault, UnusableData


def said(family, message="why"):
    return FAILURE + json.dumps({"family": family, "message": message})


@pytest.mark.parametrize(
    ("exit_code", "lines", "kind"),
    [
        (2, [said("caller")], CallerError),
        (3, [said("temporary")], TemporaryFault),
        (1, [said("data")], UnusableData),
        (1, [said("bug"), "Traceback ...", "KeyError: 1"], JobCrashed),
        (1, ["Killed by nobody"], JobCrashed),
        (2, ["argparse: no such option"], JobCrashed),
        (-9, ["INFO working"], TemporaryFault),
        (-15, [], TemporaryFault),
    ],
)
def test_the_verdict_decides_then_the_exit_code(exit_code, lines, kind):
    error = failure(exit_code, lines)
    assert type(error) is kind
    assert str(error) == "why" or exit_code < 0 or lines[-1] in str(error)


def test_a_job_ended_by_sigkill_hints_at_memory():
    assert "memory" in str(failure(-9, []))


def run(tmp_path, script, *, log=None, **options):
    job = tmp_path / "job.py"
    job.write_text(script)
    hook = BeamJobHook("FnApiRunner")
    if log:
        hook._log = log
    hook.start_python_pipeline(options, str(job), ["-P"], py_interpreter=sys.executable)


def test_options_reach_the_job_and_levels_the_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    lines = ["INFO a: b", "WARNING c: d", "ERROR e: f", "Traceback (most recent call last):", "INFO g: h"]
    run(
        tmp_path,
        f"import sys\nprint(*{lines}, *sys.argv[1:], sep=chr(10), file=sys.stderr)",
        log=logging.getLogger("job"),
        plan="/x/plan.json",
        labels={"airflow-version": "v3"},
        nothing=None,
    )
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said[1:] == [
        ("INFO", "INFO a: b"),
        ("WARNING", "WARNING c: d"),
        ("ERROR", "ERROR e: f"),
        ("ERROR", "Traceback (most recent call last):"),
        ("INFO", "INFO g: h"),
        ("INFO", "--runner=FnApiRunner"),
        ("INFO", "--plan=/x/plan.json"),
        ("INFO", "--labels=airflow-version=v3"),
    ]


def test_a_long_traceback_after_the_verdict_does_not_hide_it(tmp_path):
    lines = [said("data", "input changed"), *["  File ..."] * 100]
    with pytest.raises(UnusableData, match="input changed"):
        run(tmp_path, f"import sys\nprint(*{lines!r}, sep=chr(10), file=sys.stderr); sys.exit(1)")


def test_a_crash_shows_its_last_lines(tmp_path):
    with pytest.raises(JobCrashed, match="ZeroDivisionError"):
        run(tmp_path, "1 / 0")


def test_packages_are_not_installed_on_the_way(tmp_path):
    with pytest.raises(CallerError, match="installed environment"):
        BeamJobHook("FnApiRunner").start_python_pipeline({}, "job.py", [], py_requirements=["x"])


def test_the_real_jobs_own_verdict_is_understood(tmp_path):
    hook = BeamJobHook("FnApiRunner")
    job = str(ROOT / "beam_jobs" / "convert_images.py")
    with pytest.raises(CallerError, match=r"plan\.json"):
        hook.start_python_pipeline({"plan": str(tmp_path / "plan.json")}, job, ["-P"], py_interpreter=sys.executable)
    assert HOME.is_dir()
