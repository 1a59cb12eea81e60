"""Brings Airflow's database to this image's version. Nothing else of the stack ever migrates."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psycopg2

URL_FILE = Path("/run/imagemill/database-url")
REVISION = re.compile(r"^revision(?:: str)? = [\"'](\w+)[\"']", re.MULTILINE)


def known_revisions() -> set[str]:
    """Returns the schema revisions that this Airflow has a migration for."""
    found = importlib.util.find_spec("airflow")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("airflow is not installed in this image")
    scripts = (Path(found.origin).parent / "migrations" / "versions").glob("*.py")
    return {match[1] for script in scripts if (match := REVISION.search(script.read_text("utf-8")))}


def current_revision(url: str) -> str | None:
    """Returns the database's schema revision; None for a new database."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select to_regclass('alembic_version') is not null")
            if not cursor.fetchone()[0]:
                return None
            cursor.execute("select version_num from alembic_version")
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


def main() -> int:
    try:
        revision = current_revision(URL_FILE.read_text().replace("+psycopg2", ""))
    except psycopg2.OperationalError as error:
        print(f"imagemill: cannot open the database: {error}", file=sys.stderr)
        if "password authentication failed" in str(error):
            print(
                "imagemill: the volume `database` has another password than the volume `secrets`; restore both from "
                "the same backup, or begin anew with `docker compose down --volumes`",
                file=sys.stderr,
            )
        return 1
    if revision is not None and revision not in known_revisions():
        print(
            f"imagemill: the database has the schema {revision}, of a newer Airflow than this image's "
            f"{version('apache-airflow-core')}; start the image that made it, or restore an older backup",
            file=sys.stderr,
        )
        return 1
    return subprocess.run(["airflow", "db", "migrate"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
