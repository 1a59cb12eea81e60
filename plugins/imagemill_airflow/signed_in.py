"""Runs a command signed in to Google as tasks are, by Airflow's connection.

Outside of tasks nothing reads it: without this, `imagemill doctor` on the same machine tries another account.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stdout

from imagemill import home
from imagemill.errors import ImagemillError
from imagemill_airflow.doctor import use_an_airflow
from imagemill_airflow.google_connection import google_connection


def main() -> int:
    """Runs the command and returns its exit code."""
    command = sys.argv[1:]
    if not command:
        print("usage: python -m imagemill_airflow.signed_in COMMAND", file=sys.stderr)
        return 2
    try:
        with redirect_stdout(sys.stderr):  # what Airflow says here is none of the command's output
            return _run(command)
    except ImagemillError as error:
        print(f"imagemill: {error}", file=sys.stderr)
        return error.exit_code


def _run(command: list[str]) -> int:
    specs = home.specs_dir()
    use_an_airflow(specs, home.home(specs))
    from airflow.models.connection import Connection  # not before it is known which Airflow is meant

    with google_connection(Connection.get_connection_from_secrets):
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
