"""Which failures are repeated: the policy's table, and Airflow really acting on it."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.support.airflow_home import HOME

from airflow.sdk import RetryAction  # isort: skip  (after its settings)
from airflow.sdk.exceptions import AirflowTaskTimeout  # isort: skip
from imagemill.errors import CallerError, TemporaryFault, UnusableData
from imagemill_airflow.beam_launch import JobCrashed
from imagemill_airflow.environment import free_port
from imagemill_airflow.retries import is_final, retry_policy


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (TemporaryFault("503"), RetryAction.RETRY),
        (ConnectionResetError(), RetryAction.RETRY),
        (TimeoutError(), RetryAction.RETRY),
        (CallerError("no such archive"), RetryAction.FAIL),
        (UnusableData("too many rejects"), RetryAction.FAIL),
        (JobCrashed("boom"), RetryAction.FAIL),
        (KeyError("a bug"), RetryAction.FAIL),
        (KeyboardInterrupt(), RetryAction.FAIL),
        (AirflowTaskTimeout(), RetryAction.DEFAULT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value.name,
)
def test_the_family_decides(error, action):
    assert retry_policy().evaluate(error, 1, 4).action is action


@pytest.mark.parametrize(
    ("error", "number", "final"),
    [
        (TemporaryFault("503"), 4, False),
        (TemporaryFault("503"), 5, True),
        (CallerError("403"), 1, True),
        (KeyboardInterrupt(), 1, True),
        (AirflowTaskTimeout(), 1, False),
        (AirflowTaskTimeout(), 5, True),
    ],
)
def test_an_error_is_final_where_no_try_follows(error, number, final):
    assert is_final(error, SimpleNamespace(try_number=number, max_tries=4)) is final


DAG_FILE = """
from datetime import timedelta
from airflow.sdk import DAG, task
from imagemill.errors import CallerError, TemporaryFault, UnusableData
from imagemill.spec import Alerts, DatasetSpec, FolderSource, Locations
from imagemill_airflow.alerts import on_failure
from imagemill_airflow.retries import retry_arguments

SPEC = DatasetSpec(
    name="cats",
    source=FolderSource(type="folder", root="/x"),
    locations=Locations(staging="/none/staging", output="/none/output", work="/none/work"),
    alerts=Alerts(email=("ann@example.org",)),
)

@task(on_failure_callback=on_failure(SPEC))
def fail(kind):
    raise kind("as asked")

@task
def heal(ti=None):
    if ti.try_number < 3:
        raise TemporaryFault("not yet")

with DAG("families", schedule=None, default_args=retry_arguments() | {"retries": 2, "retry_delay": timedelta(0)}):
    for kind in (CallerError, TemporaryFault, UnusableData, KeyError):
        fail.override(task_id=kind.__name__)(kind)
    heal()
"""

RUN = """
import json, sys
from pathlib import Path
from imagemill_airflow.local_airflow import load_dag, migrate
home, dag_file = map(Path, sys.argv[1:])
migrate(home)
run = load_dag(dag_file, "families").test()
print(json.dumps({ti.task_id: [str(ti.state), ti.try_number] for ti in run.get_task_instances()}))
"""


def test_airflow_repeats_temporary_faults_only_and_survives_a_dead_mail_server(tmp_path):
    dead = f"smtp://127.0.0.1:{free_port(0)}/?disable_ssl=true&disable_tls=true&from_email=a%40b.org&retry_limit=1"
    dag_file = tmp_path / "families.py"
    dag_file.write_text(DAG_FILE)
    settings = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path)}
    output = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "airflow"), str(dag_file)],
        env=os.environ | settings | {"AIRFLOW_CONN_SMTP_DEFAULT": dead},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(output.splitlines()[-1]) == {
        "CallerError": ["failed", 1],
        "UnusableData": ["failed", 1],
        "KeyError": ["failed", 1],
        "TemporaryFault": ["failed", 3],
        "heal": ["success", 3],
    }
    assert output.count(" could not tell of ") == 4  # a dead channel fails nothing
    assert "Connection refused" in output
    assert HOME.is_dir()
