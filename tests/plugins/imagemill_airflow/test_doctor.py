"""`imagemill doctor` on Airflow installations with something wrong in them, or nothing."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import SPEC, Command
from tests.support.servers import LOOPBACK, free_ports

ROOT = Path(__file__).parents[3]
MAILS = SPEC + "alerts: {email: [somebody@example.org]}\n"
POSTS = SPEC.replace("dots", "posts") + "alerts: {slack_conn_id: the_chat}\n"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=os.environ | {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        check=True,
        capture_output=True,
    )
    return home


@pytest.fixture
def command(tmp_path, migrated):
    found = Command(tmp_path / "project")
    found.spec("dots", MAILS)
    home = tmp_path / "airflow"
    home.mkdir()
    shutil.copy(migrated / "airflow.db", home)
    found.variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "HOME": str(tmp_path),
    }
    return found


def findings(command):
    ended = command("doctor", "--json")
    found = {each["check"]: f"{each['verdict']}: {each['says']} → {each['advice']}" for each in ended.json["findings"]}
    return ended.code, found


def test_a_database_without_migrations_and_a_folder_without_the_dag(command, tmp_path):
    (tmp_path / "airflow" / "airflow.db").unlink()
    command.variables["AIRFLOW__CORE__DAGS_FOLDER"] = str(tmp_path)
    code, found = findings(command)
    assert code == 2
    assert found["airflow database"].startswith("fault: sqlite:///")
    assert "→ run `airflow db migrate`" in found["airflow database"]
    assert "dataset_refresh.py is not there → point AIRFLOW__CORE__DAGS_FOLDER" in found["airflow dags"]


def test_the_database_of_another_airflow(command, tmp_path):
    with closing(sqlite3.connect(tmp_path / "airflow" / "airflow.db")) as database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
        database.commit()
    code, found = findings(command)
    assert code == 2
    assert "was made by another Airflow than this" in found["airflow database"]
    assert "→ start that version again, or restore the backup" in found["airflow database"]


def test_nobody_to_send_the_mail_and_a_dag_that_cannot_be_imported(command, tmp_path):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "dataset_refresh.py").write_text("from airflow.sdk import DAG\nimport gone_away\n")
    command.variables["AIRFLOW__CORE__DAGS_FOLDER"] = str(tmp_path / "dags")
    command.variables["IMAGEMILL_GCP_CONN_ID"] = "the_cloud"
    command.spec("posts", POSTS)
    code, found = findings(command)
    assert code == 2
    assert "Airflow has no connection 'smtp_default', and dots would mail" in found["connection smtp_default"]
    assert "→ airflow connections add smtp_default --conn-type smtp" in found["connection smtp_default"]
    assert "airflow connections add the_cloud --conn-type google_cloud_platform" in found["connection the_cloud"]
    assert "airflow connections add the_chat --conn-type http --conn-host URL" in found["connection the_chat"]
    assert "No module named 'gone_away'" in found["airflow dags"]
    assert found["airflow scheduler"].startswith("warning: is not running")


def test_connections_in_variables_that_airflow_cannot_read(command):
    for conn_id in ("SMTP_DEFAULT", "GOOGLE_CLOUD_DEFAULT"):
        command.variables[f"AIRFLOW_CONN_{conn_id}"] = '{"conn_type": "smtp", "host": "mail"'
    code, found = findings(command)
    assert code == 2
    for conn_id in ("smtp_default", "google_cloud_default"):
        says = f"fault: AIRFLOW_CONN_{conn_id.upper()} is set, and Airflow cannot read it"
        assert found[f"connection {conn_id}"].startswith(says)


def test_a_mail_server_that_does_not_answer_is_temporary(command):
    command.variables["AIRFLOW_CONN_SMTP_DEFAULT"] = f"smtp://{LOOPBACK}:{free_ports(1)[0]}"
    code, found = findings(command)
    assert code == 3
    assert "does not answer" in found["connection smtp_default"]


def test_a_sound_airflow(command):
    with closing(socket.create_server((LOOPBACK, 0))) as mail:
        command.variables["AIRFLOW_CONN_SMTP_DEFAULT"] = f"smtp://{LOOPBACK}:{mail.getsockname()[1]}"
        code, found = findings(command)
    assert (code, found["airflow dags"]) == (0, "good: 1 DAGs: refresh_dots → ")
    assert found["connection smtp_default"].startswith("good: the mail server")


def test_an_airflow_that_never_ran_is_not_made(command, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        monkeypatch.delenv(name)  # another test's
    command.variables = {"HOME": str(tmp_path)}
    code, found = findings(command)
    assert code == 0
    assert found["airflow"].startswith("skipped: none has run here yet; `make up`")
    assert not (tmp_path / "airflow" / "airflow.cfg").exists()
