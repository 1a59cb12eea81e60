"""What a conversion must not forget, and what Airflow may refuse to keep."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.airflow_home import HOME

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # isort: skip  (after its settings)
from airflow.sdk.execution_time.comms import ErrorResponse  # isort: skip
from imagemill_airflow.job_state import JobState  # isort: skip
from imagemill_airflow.progress import Progress  # isort: skip

COUNTS = Progress(rows=2, of_rows=2, records=1, rejected=1, duplicates=0, bytes=9, shards=1, of_shards=1)


class Refusing(dict):
    """A task state store as it is for a task that a person has cleared."""

    def set(self, key, value):
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 409}))


class Keeping(dict):
    set = dict.__setitem__


def memory(store, *, run_id="one"):
    ti = SimpleNamespace(dag_id="refresh_cats", run_id=run_id, task_id="convert_images", map_index=-1)
    return JobState({"task_state_store": store, "ti": ti})


def test_what_one_try_keeps_the_next_one_finds():
    store = Keeping()
    memory(store).submitted("job-1")
    memory(store).tell("job-1")
    memory(store).progress(COUNTS)
    assert memory(store).job_id == "job-1"
    assert (memory(store).has_told("job-1"), memory(store).has_told("job-2")) == (True, False)
    assert store["progress"] == COUNTS.to_json()


def test_each_run_labels_its_jobs_the_same_in_every_try():
    assert memory(Keeping()).run_label == memory(Keeping()).run_label
    assert memory(Keeping()).run_label != memory(Keeping(), run_id="two").run_label


def test_progress_that_airflow_refuses_ends_no_wait(caplog):
    memory(Refusing()).progress(COUNTS)
    assert "Airflow does not keep the progress" in caplog.text
    assert HOME.is_dir()


def test_an_id_that_airflow_refuses_is_no_secret():
    with pytest.raises(AirflowRuntimeError):
        memory(Refusing()).submitted("job-1")
