"""A command runs as tasks are signed in."""

import json
import os
import subprocess
import sys

PRINT = "import os; print(os.environ.get('GOOGLE_APPLICATION_CREDENTIALS')); raise SystemExit(3)"


def signed_in(folder, *command, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("IMAGEMILL_", "AIRFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "imagemill_airflow.signed_in", *command],
        env=kept | {"AIRFLOW_HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_sees_the_connections_key_and_its_output_and_exit_code_are_kept(tmp_path):
    connection = {"conn_type": "google_cloud_platform", "extra": {"key_path": "/keys/mill.json"}}
    variables = {"AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection)}
    ended = signed_in(tmp_path, sys.executable, "-c", PRINT, **variables)
    assert (ended.returncode, ended.stdout) == (3, "/keys/mill.json\n"), ended.stderr


def test_a_connection_that_is_named_and_not_there(tmp_path):
    ended = signed_in(tmp_path, sys.executable, "-c", PRINT, IMAGEMILL_GCP_CONN_ID="mill")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "imagemill: there is no Airflow connection 'mill'; create it" in ended.stderr


def test_without_a_command_it_says_how_it_is_called(tmp_path):
    ended = signed_in(tmp_path)
    assert (ended.returncode, ended.stderr) == (2, "usage: python -m imagemill_airflow.signed_in COMMAND\n")
