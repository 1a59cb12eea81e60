"""Looks at an Airflow for `imagemill doctor`: prints findings as one line of JSON.

The Airflow is the one that the environment names; where it names none, the one that `make up` uses.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.doctor.finding import Finding, fault, good, skipped, warning
from imagemill.spec import DatasetSpec
from imagemill.spec.file import LoadedSpec, load_all
from imagemill_airflow.environment import DAG_FILE, airflow_environment

if TYPE_CHECKING:
    from airflow.models.connection import Connection

SMTP_PORT = 25
PATIENCE_SECONDS = 5.0

_PROCESSES = {
    "SchedulerJob": ("scheduler", "no schedule starts and no task runs"),
    "DagProcessorJob": ("dag-processor", "changed specs are not seen"),
    "TriggererJob": ("triggerer", "tasks that wait in it do not go on"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; its exit code says nothing of the findings."""
    parser = argparse.ArgumentParser(prog="python -m imagemill_airflow.doctor", description=__doc__)
    parser.add_argument("--specs", type=Path, required=True, help="folder of the specs")
    parser.add_argument("--home", type=Path, required=True, help="imagemill's home")
    options = parser.parse_args(arguments)
    with contextlib.redirect_stdout(sys.stderr):  # Airflow may print what is no finding
        findings = list(_examine(options.specs, options.home))
    print(json.dumps([finding.model_dump(mode="json") for finding in findings]))
    return 0


def _examine(specs: Path, home: Path) -> Iterator[Finding]:
    if not use_an_airflow(specs, home):
        yield skipped("airflow", "none has run here yet; `make up` starts one, or name yours by AIRFLOW_HOME")
        return
    logging.disable(logging.WARNING)
    datasets = [each.spec for each in load_all(specs) if isinstance(each, LoadedSpec)]
    database = check_database()
    yield database
    if database.verdict == "good":
        yield from check_processes()
        yield from check_mail(datasets)
        yield from check_webhooks(datasets)
        yield from check_google()
    yield from check_dags()


def use_an_airflow(specs: Path, home: Path) -> bool:
    """Tells whether there is an Airflow; points this process at the one that `make up` uses where it names none."""
    if any(name == "AIRFLOW_HOME" or name.startswith("AIRFLOW__") for name in os.environ):
        return True
    if os.access(Path.home() / "airflow" / "airflow.cfg", os.F_OK):  # the home may be one that nobody else may enter
        return True
    ours = home / "airflow"
    if os.access(ours / "airflow.db", os.F_OK):
        os.environ.update(airflow_environment(specs=specs, home_folder=home, airflow_home=ours))
        return True
    return False


def check_database() -> Finding:
    """Compares the database's schema with the one that this Airflow has migrations for."""
    import airflow
    from airflow import settings
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy.exc import SQLAlchemyError

    check = "airflow database"
    engine = settings.get_engine()  # type: ignore[no-untyped-call]  # Airflow's own, without types
    place = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            heads = set(MigrationContext.configure(connection).get_current_heads())
    except SQLAlchemyError as error:
        says = f"{place} does not answer ({str(error).splitlines()[0]})"
        return fault(check, says, "start it, or correct AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", family="temporary")
    script = ScriptDirectory(str(Path(airflow.__file__).parent / "migrations"))
    if heads == set(script.get_heads()):
        return good(check, f"{place} fits Airflow {airflow.__version__}")
    if heads - {revision.revision for revision in script.walk_revisions()}:
        says = f"{place} was made by another Airflow than this {airflow.__version__}"
        return fault(check, says, "start that version again, or restore the backup made before the upgrade")
    state = "is older than" if heads else "is not made for"
    return fault(check, f"{place} {state} Airflow {airflow.__version__}", "run `airflow db migrate`, then look again")


def check_processes() -> Iterator[Finding]:
    """Looks which of Airflow's processes are alive."""
    from airflow.jobs.job import Job, JobState
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        running = session.scalars(select(Job).where(Job.state == JobState.RUNNING)).all()
        alive = {job.job_type for job in running if job.is_alive()}
    for kind, (name, without) in _PROCESSES.items():
        if kind in alive:
            yield good(f"airflow {name}", "is alive")
        else:
            yield warning(f"airflow {name}", f"is not running: {without}", f"start it (`airflow {name}`)")


def check_mail(datasets: Sequence[DatasetSpec]) -> Iterator[Finding]:
    """Looks for each connection that is to tell people of failures, and whether its server answers."""
    users: dict[str, list[str]] = {}
    for spec in datasets:
        if spec.alerts.email:
            users.setdefault(spec.alerts.smtp_conn_id, []).append(spec.name)
    for conn_id, names in users.items():
        check, connection = f"connection {conn_id}", _connection(conn_id)
        if connection is None:
            says = f"Airflow has no connection {conn_id!r}, and {', '.join(names)} would mail failures by it"
            way_out = f"airflow connections add {conn_id} --conn-type smtp --conn-host HOST --conn-port PORT"
            yield _absent(conn_id, says, way_out)
        else:
            yield _judge_server(check, connection)


def _judge_server(check: str, connection: Connection) -> Finding:
    host, port = connection.host or "", connection.port or SMTP_PORT
    if not host:
        return fault(check, "it names no host", "give it the mail server's name, in Airflow under Admin, Connections")
    try:
        socket.create_connection((host, port), timeout=PATIENCE_SECONDS).close()
    except OSError as error:
        says = f"the mail server {host}:{port} does not answer ({error.strerror or error})"
        way_out = "correct host and port in Airflow under Admin, Connections, or start the server"
        return fault(check, says, way_out, family="temporary")
    return good(check, f"the mail server {host}:{port} answers")


def check_webhooks(datasets: Sequence[DatasetSpec]) -> Iterator[Finding]:
    """Looks for the connections that hold the URLs of Slack and other webhooks; nothing is posted."""
    alerts = [spec.alerts for spec in datasets]
    chosen = {each for one in alerts for each in (one.slack_conn_id, one.webhook_conn_id) if each}
    for conn_id in sorted(chosen):
        check = f"connection {conn_id}"
        if _connection(conn_id) is None:
            says = f"Airflow has no connection {conn_id!r}, by which events would be posted"
            yield _absent(conn_id, says, f"airflow connections add {conn_id} --conn-type http --conn-host URL")
        else:
            yield good(check, "is there")


def check_google() -> Iterator[Finding]:
    """Looks for the Google connection that the environment names; Airflow's default need not be there."""
    from imagemill_airflow.google_connection import CONNECTION_VARIABLE, connection_id

    if not (conn_id := connection_id()):
        return
    if _connection(conn_id) is not None:
        yield good(f"connection {conn_id}", "is there")
    elif CONNECTION_VARIABLE in os.environ or _variable(conn_id) in os.environ:
        says = f"{CONNECTION_VARIABLE} names {conn_id!r}, and Airflow has no such connection"
        way_out = f"airflow connections add {conn_id} --conn-type google_cloud_platform, or unset it"
        yield _absent(conn_id, says, way_out)


def _variable(conn_id: str) -> str:
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def _absent(conn_id: str, says: str, way_out: str) -> Finding:
    """Returns what is to be said of a connection that Airflow does not find; it tells nobody of one it cannot read."""
    check, variable = f"connection {conn_id}", _variable(conn_id)
    if not os.environ.get(variable):
        return fault(check, says, way_out)
    says = f"{variable} is set, and Airflow cannot read it as a connection"
    return fault(check, says, "write it as JSON whose quotes and braces match, or as a URI (in the stack, in .env)")


def _connection(conn_id: str) -> Connection | None:
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get_connection_from_secrets(conn_id)
    except AirflowNotFoundException:
        return None


def check_dags() -> Iterator[Finding]:
    """Parses the DAG file as Airflow does."""
    from airflow.configuration import conf
    from airflow.dag_processing.dagbag import DagBag

    check, file = "airflow dags", Path(str(conf.get("core", "dags_folder"))) / DAG_FILE
    if not file.is_file():
        yield fault(check, f"{file} is not there", "point AIRFLOW__CORE__DAGS_FOLDER at this project's dags folder")
        return
    bag = DagBag(file)
    for path, error in bag.import_errors.items():
        words = str(error).strip().splitlines()
        yield fault(check, f"{path} cannot be imported: {words[-1]}", "mend what it names; `airflow dags reserialize`")
    if not bag.import_errors:
        yield good(check, f"{len(bag.dags)} DAGs: {', '.join(sorted(bag.dags))}")


if __name__ == "__main__":
    sys.exit(main())
