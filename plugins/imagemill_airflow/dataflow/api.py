"""Dataflow's jobs, through the Google provider's hook: found by name, looked at, cancelled.

Every failure is one of ours. https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.jobs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.google.cloud.hooks.dataflow import DataflowHook
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from typing_extensions import override

from imagemill.errors import CallerError, ImagemillError, TemporaryFault
from imagemill_airflow.google_connection import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from google.api_core.client_options import ClientOptions

Json = dict[str, Any]

DONE, FAILED, CANCELLED, CANCELLING = "DONE", "FAILED", "CANCELLED", "CANCELLING"
_ENDED = frozenset({DONE, FAILED, CANCELLED, "DRAINED", "UPDATED"})
_STATE = "JOB_STATE_"

NAMESPACE = "imagemill"
"""Of the metrics that the conversion counts."""

_TRIES = 3
"""Of a request that is answered with 429 or 5xx, a second and then two apart."""

# Too many requests come as 429, or as 403 with one of these.
_TOO_MANY = re.compile(r"rateLimitExceeded|RATE_LIMIT|Quota exceeded for quota metric")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlace:
    """Where jobs are and who asks for them; made of JSON's types, so that a trigger can be stored.

    Attributes:
        endpoint: Address of the API; None for the public one.
        impersonate: Chain of accounts; empty for the connection's own.
    """

    project: str
    region: str
    conn_id: str = DEFAULT_CONNECTION
    impersonate: tuple[str, ...] = ()
    endpoint: str | None = None

    def to_json(self) -> Json:
        return asdict(self) | {"impersonate": list(self.impersonate)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> JobPlace:
        return cls(**{**stored, "impersonate": tuple(stored["impersonate"])})


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as it is now.

    Attributes:
        state: Without Dataflow's prefix: `RUNNING`.
    """

    id: str
    name: str
    state: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        """Tells whether it costs money, or may yet: a job that is being cancelled does."""
        return self.state not in _ENDED


class DataflowJobs:
    """The jobs of one project and region. Not thread-safe.

    Attributes:
        place: Which ones.
        hook: The provider's, signed in.
    """

    def __init__(self, place: JobPlace, *, hook: JobsHook | None = None) -> None:
        self.place = place
        self.hook = hook or JobsHook(place)
        self._jobs = self._open()

    def again(self) -> DataflowJobs:
        """Returns another client of the same jobs, for a signal's handler: it asks Airflow for nothing."""
        return DataflowJobs(self.place, hook=self.hook)

    def close(self) -> None:
        """Closes the connections; a process that goes on has to."""
        self._jobs.close()

    def find(self, name: str) -> list[Job]:
        """Returns the jobs of a name, the newest first, ended ones too.

        Raises:
            CallerError: The project, the region or the account does not fit.
            TemporaryFault: Dataflow cannot be asked at the moment.
        """
        found: list[Json] = []
        request = self._jobs.list(projectId=self.place.project, location=self.place.region, name=name)
        while request is not None:
            page = self._ask(request)
            found += page.get("jobs", ())
            request = self._jobs.list_next(request, page)
        # Dataflow names and orders them so already; a client that relies on it would pay twice where it does not.
        named = [each for each in found if each["name"] == name]
        return [_job(each) for each in sorted(named, key=lambda each: str(each.get("createTime")), reverse=True)]

    def get(self, job_id: str) -> Job:
        """Returns a job as it is now; failures are those of `find`."""
        return _job(self._ask(self._jobs.get(**self._named(job_id))))

    def errors(self, job_id: str) -> list[str]:
        """Returns what the job itself says went wrong, in order."""
        said: list[str] = []
        messages = self._jobs.messages()
        request = messages.list(**self._named(job_id), minimumImportance="JOB_MESSAGE_ERROR")
        while request is not None:
            page = self._ask(request)
            said += [each["messageText"] for each in page.get("jobMessages", ())]
            request = messages.list_next(request, page)
        return said

    def counters(self, job_id: str) -> dict[str, int]:
        """Returns what the conversion has counted: committed values only, so that a repeated bundle counts once."""
        answer = self._ask(self._jobs.getMetrics(**self._named(job_id)))
        totals: dict[str, int] = {}
        for update in answer.get("metrics", ()):
            name, context = update["name"]["name"], update["name"].get("context", {})
            if context.get("namespace") == NAMESPACE and "tentative" not in context:
                totals[name] = totals.get(name, 0) + int(update.get("scalar", 0))
        return totals

    def cancel(self, job_id: str) -> None:
        """Asks Dataflow to end a job; one that has ended stays as it is."""
        body = {"requestedState": f"{_STATE}{CANCELLED}"}
        self._ask(self._jobs.update(**self._named(job_id), body=body))

    def _named(self, job_id: str) -> dict[str, str]:
        return {"projectId": self.place.project, "location": self.place.region, "jobId": job_id}

    def _open(self) -> Any:
        from google.auth.exceptions import GoogleAuthError

        try:
            return self.hook.get_conn().projects().locations().jobs()
        except GoogleAuthError as error:
            raise _not_signed_in(error) from error

    def _ask(self, request: Any) -> Json:
        import httplib2
        from google.auth.exceptions import GoogleAuthError, TransportError
        from googleapiclient.errors import HttpError

        try:
            return dict(request.execute(num_retries=_TRIES - 1))
        except HttpError as error:
            raise self._refusal(int(error.resp.status), str(error.reason)) from error
        except (OSError, httplib2.HttpLib2Error, TransportError) as error:
            raise TemporaryFault(f"Dataflow cannot be reached: {error or type(error).__name__}; try again") from error
        except GoogleAuthError as error:
            raise _not_signed_in(error) from error

    def _refusal(self, status: int, message: str) -> ImagemillError:
        project, region = self.place.project, self.place.region
        if status == 429 or status >= 500 or _TOO_MANY.search(message):
            return TemporaryFault(f"Dataflow answers {status}: {message}; try again")
        if status in (401, 403):
            return CallerError(
                f"no permission for Dataflow in the project {project!r}: {message}; grant the launching account "
                "roles/dataflow.developer there, or correct conversion.dataflow.project"
            )
        return CallerError(
            f"Dataflow refuses the region {region!r} of project {project!r} ({status}): {message}; "
            "choose another conversion.dataflow.region"
        )


class JobsHook(DataflowHook):
    """The provider's hook, for any address of the API, and for people who sign in without a connection."""

    def __init__(self, place: JobPlace) -> None:
        super().__init__(gcp_conn_id=place.conn_id, impersonation_chain=list(place.impersonate) or None)
        self._endpoint = place.endpoint

    @override
    def get_client_options(self, api_endpoint_override: str | None = None) -> ClientOptions:
        from google.api_core.client_options import ClientOptions

        if self._endpoint is None:
            return super().get_client_options()
        return ClientOptions(api_endpoint=f"{self._endpoint}/")

    @classmethod
    @override
    def get_connection(cls, conn_id: str) -> Connection:
        """Returns the connection; where nobody has made Airflow's default one, Application Default Credentials."""
        try:
            return super().get_connection(conn_id)
        except AirflowNotFoundException:
            if conn_id != DEFAULT_CONNECTION:
                raise
            return Connection(conn_id=conn_id, conn_type="google_cloud_platform")


def _job(resource: Json) -> Job:
    state = str(resource.get("currentState", "")).removeprefix(_STATE)
    return Job(resource["id"], resource["name"], state, resource.get("labels", {}))


def _not_signed_in(error: Exception) -> CallerError:
    return CallerError(
        f"Google does not know who asks: {error}; give the Airflow connection a key, or the worker credentials "
        "(gcloud auth application-default login)"
    )
