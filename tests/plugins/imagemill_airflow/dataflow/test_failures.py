"""Every failure's words and its family, and what a person reads."""

import pytest

from tests.support.airflow_home import HOME

from imagemill.errors import CallerError, TemporaryFault, UnusableData  # isort: skip  (after its settings)
from imagemill_airflow.beam_launch import JobCrashed
from imagemill_airflow.dataflow.failures import explain
from tests.support.dataflow.troubles import CPU_QUOTA, NO_MACHINES, PREEMPTED

TRACEBACK = """\
Traceback (most recent call last):
  File "x.py", line 1, in process
imagemill.errors.UnusableData: index.csv has changed since it was planned [while running 'Read rows']
"""


@pytest.mark.parametrize(
    ("said", "kind", "shown"),
    [
        (CPU_QUOTA, CallerError, "the quota is zero: CPUS"),
        (CPU_QUOTA.replace("0.0", "0"), CallerError, "the quota is zero: CPUS"),
        (CPU_QUOTA.replace("0.0", "0.5"), TemporaryFault, "the quota is used up: CPUS"),
        (CPU_QUOTA.replace("0.0", "24.0"), TemporaryFault, "the quota is used up: CPUS"),
        ("QUOTA_EXCEEDED: too many addresses", TemporaryFault, "the quota is used up"),
        ("google.api_core.exceptions.ResourceExhausted: 429 POST x: RESOURCE_EXHAUSTED", TemporaryFault, "used up"),
        (NO_MACHINES, TemporaryFault, "no machines free"),
        (PREEMPTED, TemporaryFault, "the workers were lost"),
        ("Instance x was preempted.", TemporaryFault, "the workers were lost"),
        (
            "ModuleNotFoundError: No module named 'beam_jobs.transforms'",
            CallerError,
            "missing on the workers: beam_jobs",
        ),
        ("ERROR: No matching distribution found for obstore==9.9", CallerError, "missing on the workers: obstore==9.9"),
        ("PermissionDenied: 403 POST https://x: denied", CallerError, "a permission is missing"),
        ("a@b.iam does not have storage.objects.create access to the bucket", CallerError, "a permission is missing"),
        ("Permission 'dataflow.jobs.create' denied on project: 'x'", CallerError, "a permission is missing"),
        ("ServiceUnavailable: 503 POST https://x", TemporaryFault, "Google's service failed"),
        ("InternalServerError: 500 POST https://x: an internal error occurred", TemporaryFault, "service failed"),
        ("The resource 'projects/p/regions/r/subnetworks/s' was not found", CallerError, "refuses a setting"),
        ("BadRequest: 400 POST https://x: INVALID_ARGUMENT: machine type", CallerError, "refuses a setting"),
        ("There is already active job named x with id: 1.", TemporaryFault, "a job of this name is alive"),
        (TRACEBACK, UnusableData, "job 1 failed: index.csv has changed since it was planned"),
        ("KeyError: 'label'", JobCrashed, "job 1 crashed; it said:\nKeyError: 'label'"),
        ("", JobCrashed, "(it said nothing)"),
    ],
)
def test_the_words_decide_the_family(said, kind, shown):
    error = explain("job 1", said.splitlines())
    assert type(error) is kind
    assert shown in str(error)
    assert "job 1" in str(error)
    assert HOME.is_dir()


def test_the_last_lines_are_shown_and_all_are_read():
    error = explain("job 1", [CPU_QUOTA, *(f"line {number}" for number in range(50))])
    assert isinstance(error, CallerError)
    assert str(error).splitlines()[1:] == [f"line {number}" for number in range(38, 50)]


def test_our_own_error_is_told_without_its_traceback():
    assert str(explain("job 1", [TRACEBACK])) == "job 1 failed: index.csv has changed since it was planned"
