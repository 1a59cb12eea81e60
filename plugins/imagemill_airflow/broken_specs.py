"""What stands in the place of a spec that cannot be read: a DAG that shows why, and a mail that tells of it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from airflow.sdk import DAG, BaseNotifier, task
from airflow.sdk.exceptions import AirflowFailException

from imagemill.spec.alerts import Alerts, default_people
from imagemill.spec.file import BrokenSpec
from imagemill_airflow.alerts import hold, links
from imagemill_airflow.explanations import broken_spec_doc
from imagemill_airflow.notices import Notice

if TYPE_CHECKING:
    from airflow.sdk import Context


def airflow_id(file_name: str) -> str:
    """Returns a file's name as Airflow admits it in ids, so that no file's name breaks another dataset's DAG."""
    return re.sub(r"[^\w.-]", lambda found: f".{ord(found.group()):x}.", file_name)


def broken_dag(broken: BrokenSpec) -> None:
    """Makes the DAG that shows what is wrong with a spec, in the place of the one it would have made."""
    doc = broken_spec_doc(broken.path.name, str(broken.error))
    with DAG(
        f"refresh_{airflow_id(broken.name)}",
        description=f"{broken.path.name} is broken: open the docs",
        doc_md=doc,
        schedule=None,
        catchup=False,
        tags=["imagemill", "broken-spec"],
    ):

        @task(retries=0, doc_md=doc)
        def show_errors() -> None:
            raise AirflowFailException(str(broken.error))

        show_errors()


class BrokenSpecAlert(BaseNotifier):
    """Tells the people of `IMAGEMILL_ALERT_EMAIL` of a broken spec: whom it names itself, nobody can read."""

    def __init__(self, broken: BrokenSpec) -> None:
        super().__init__()
        self.broken = broken

    def notify(self, context: Context) -> None:
        alerts = Alerts(email=tuple(default_people(os.environ)))
        # The spec's own watch takes this task's place when the spec is mended, and ends the alarm.
        hold(broken_notice(self.broken, context), alerts, context, alarm="watch")


def broken_notice(broken: BrokenSpec, context: Context) -> Notice:
    """Returns the notice of a broken spec."""
    return Notice(
        event="failure",
        dataset=broken.name,
        headline=f"{broken.path.name} is broken: nothing refreshes this dataset, and nothing watches its age",
        why=str(broken.error),
        served="the version that was published last, if there is one",
        advice="Correct the file; `imagemill specs` checks it.",
        links=links(context),
        facts={"file": broken.path.name},
    )
