"""Tells Docker whether a part of the stack does its work: `healthy.py http URL`, `healthy.py job JOB_TYPE`.

Airflow's own `airflow jobs check` imports all of Airflow, some seconds of CPU at each check of each container.
"""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

URL_FILE = Path("/run/imagemill/database-url")
FRESH_SECONDS = 60
TIMEOUT_SECONDS = 5
PATIENCE_SECONDS = 120
"""What a DAG processor gets for the DAGs of DAG_FILE, before it is believed that there are none."""
DAG_FILE = "dataset_refresh.py"

# Of this container's present life: the heartbeat of the one before it may be fresh too.
BEATS = """
select count(*) from job where job_type = %(job)s and state = 'running'
    and start_date >= to_timestamp(%(since)s) and latest_heartbeat > now() - make_interval(secs => %(fresh)s)
"""


PARSED = """
select extract(epoch from now()) - %(since)s > %(patience)s
    or exists (select from dag where relative_fileloc = %(file)s and last_parsed_time >= to_timestamp(%(since)s))
"""


def answers(url: str) -> bool:
    """Tells whether a service answers without an error."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  (http:// of our own)
            return bool(answer.status < 400)
    except OSError:
        return False


def beats(job: str) -> bool:
    """Tells whether an Airflow job of this container has been heard of lately.

    A DAG processor must have brought the DAGs, too: whoever waits for the stack wants to trigger one.
    """
    import psutil
    import psycopg2

    url = URL_FILE.read_text().replace("+psycopg2", "")
    since = int(psutil.Process(1).create_time())
    facts = {"job": job, "since": since, "fresh": FRESH_SECONDS, "patience": PATIENCE_SECONDS, "file": DAG_FILE}
    try:
        connection = psycopg2.connect(url, connect_timeout=TIMEOUT_SECONDS)
    except psycopg2.OperationalError:
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute(BEATS, facts)
            alive = bool(cursor.fetchone()[0])
            if job == "DagProcessorJob":
                cursor.execute(PARSED, facts)
                alive = alive and bool(cursor.fetchone()[0])
            return alive
    finally:
        connection.close()


def main() -> int:
    kind, what = sys.argv[1:]
    return 0 if (answers(what) if kind == "http" else beats(what)) else 1


if __name__ == "__main__":
    sys.exit(main())
