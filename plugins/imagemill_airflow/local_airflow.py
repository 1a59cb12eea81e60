"""An Airflow of this machine's own: its database, its lock, and the one DAG that is wanted of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.errors import CallerError

if TYPE_CHECKING:
    from airflow.sdk import DAG

_LOCK = "refresh.lock"
_MIGRATED = "migrated-to"


@contextlib.contextmanager
def exclusive(airflow_home: Path, *, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Holds an Airflow home alone: SQLite, and one run at a time, are what it is made for. Others wait their turn.

    The lock ends with its process, however that ends.

    Args:
        airflow_home: The home.
        what: What is run, for those who wait.
        say: Tells the person who waits.
    """
    airflow_home.mkdir(parents=True, exist_ok=True)
    with (airflow_home / _LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"waiting for {file.read().strip() or 'another run'} to end (it holds {airflow_home})")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"`{what}`, process {os.getpid()}\n")
        file.flush()
        yield


def migrate(airflow_home: Path) -> None:
    """Creates or upgrades the home's database, unless this very Airflow has done so before.

    Asking Airflow whether a migration is due takes longer than all the rest of opening it.
    """
    marker = airflow_home / _MIGRATED
    installed = f"apache-airflow-core {package_version('apache-airflow-core')}"
    if marker.is_file() and marker.read_text().strip() == installed and (airflow_home / "airflow.db").is_file():
        return
    from airflow.utils import db

    db.initdb()
    marker.write_text(installed + "\n")


def load_dag(dag_file: Path, dag_id: str) -> DAG:
    """Parses one DAG file.

    Raises:
        CallerError: The file has no such DAG, or cannot be imported.
    """
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_file)
    if bag.import_errors:
        raise CallerError("\n".join(f"{path} cannot be imported: {error}" for path, error in bag.import_errors.items()))
    if dag_id not in bag.dags:
        raise CallerError(f"{dag_file} has no DAG {dag_id}; there are {', '.join(sorted(bag.dags)) or 'none'}")
    return bag.dags[dag_id]
