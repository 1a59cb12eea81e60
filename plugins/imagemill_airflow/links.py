"""Links on the task: where its images are, where the version and its report are, and the job that makes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from imagemill_airflow.dataflow.api import JobPlace

log = logging.getLogger(__name__)

_CONSOLE = "https://console.cloud.google.com"
_OBJECTS = "https://storage.cloud.google.com"


class _StoredLink(BaseOperatorLink):
    """A link that the task stores as soon as it knows it, so that it is there while the task runs."""

    key: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Returns what the task has stored; Airflow stores it again when the task ends."""
        found = XCom.get_value(key=self.key, ti_key=ti_key)
        return str(found) if found else ""


class DataflowLink(_StoredLink):
    """The job's page in Google's console."""

    name = "Dataflow job"
    key = "link_dataflow_job"


class StagingLink(_StoredLink):
    """The staged images."""

    name = "Staging"
    key = "link_staging"


class OutputLink(_StoredLink):
    """The version's folder."""

    name = "Output"
    key = "link_output"


class ReportLink(_StoredLink):
    """The version's validation report, once it is written."""

    name = "Report"
    key = "link_report"


LINKS = (DataflowLink(), StagingLink(), OutputLink(), ReportLink())


def store_links(context: Context, links: Mapping[type[_StoredLink], str]) -> None:
    """Puts links on the running task, and in its log: Airflow's page shows none to a file on the worker's disk."""
    for kind, url in links.items():
        log.info("%s: %s", kind.name, url)
        context["ti"].xcom_push(key=kind.key, value=url)


def job_page(place: JobPlace, job_id: str) -> str:
    """Returns the URL of a Dataflow job's page."""
    return f"{_CONSOLE}/dataflow/jobs/{place.region}/{job_id}?project={place.project}"


def folder_page(uri: str) -> str:
    """Returns the URL at which a person can look into a location: the console for `gs://`."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri).absolute().as_uri()
    return f"{_CONSOLE}/storage/browser/{rest.rstrip('/')}" if scheme == "gs" else uri


def object_page(uri: str) -> str:
    """Returns the URL at which a browser, signed in, shows one object."""
    return f"{_OBJECTS}/{uri.removeprefix('gs://')}" if uri.startswith("gs://") else folder_page(uri)
