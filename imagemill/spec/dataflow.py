"""The spec's section about Google Cloud Dataflow: which project pays, where, on which machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from imagemill.spec.contradictions import Contradiction, refuse
from imagemill.spec.part import SpecPart

MOST_LABELS = 60
"""Dataflow takes 64; the operator and Airflow add theirs."""


def _shaped(pattern: str, what: str, example: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        refuse([Contradiction((), f"`{text}` is no {what}.", f"Write one such as `{example}`.")])
    return text


def _like(pattern: str, what: str, example: str) -> AfterValidator:
    """Returns the validator of a text that one of Google's services has a rule for."""
    return AfterValidator(partial(_shaped, pattern, what, example))


# The rules stand on the page of each resource; https://cloud.google.com/dataflow/docs/reference/pipeline-options lists
# the options.
_REGION = r"[a-z]+-[a-z]+[0-9]+"
_URL = r"https://www\.googleapis\.com/compute/v1/projects/[^/]+/"

Project = Annotated[str, _like(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{2,28}[a-z0-9]", "project id", "my-project")]
Region = Annotated[str, _like(_REGION, "region", "europe-west1")]
Zone = Annotated[str, _like(f"{_REGION}-[a-z]", "zone", "europe-west1-b")]
Prefix = Annotated[str, _like(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9](/.*)?", "Cloud Storage prefix", "gs://bucket/temp")]
Account = Annotated[
    str, _like(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", "service account", "name@my-project.iam.gserviceaccount.com")
]
Subnetwork = Annotated[
    str, _like(f"({_URL})?regions/{_REGION}/subnetworks/[^/]+", "subnetwork", "regions/europe-west1/subnetworks/name")
]
Machine = Annotated[str, _like(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", "machine type", "n2-standard-4")]
Image = Annotated[
    str, _like(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", "image", "host/project/name:1")
]
Wheel = Annotated[str, _like(r"(?s:.+)\.whl", "wheel", "gs://bucket/imagemill-1.0-py3-none-any.whl")]
Address = Annotated[str, _like(r"https?://[^/\s]+", "address", "https://dataflow.googleapis.com")]
LabelKey = Annotated[str, _like(r"[a-z][a-z0-9_-]{0,62}", "label", "team")]
LabelValue = Annotated[str, _like(r"[a-z0-9_-]{0,63}", "value of a label", "vision")]


class Dataflow(SpecPart):
    """Where and how the job runs with `runner: dataflow`. All of it is checked before a job is submitted."""

    project: Project | None = None
    """Id of the Google Cloud project that runs the job and pays for it; `runner: dataflow` needs it."""
    region: Region | None = None
    """Where the job runs, best where the buckets are: `europe-west1`; `runner: dataflow` needs it."""
    temp_location: Prefix | None = None
    """`gs://bucket/prefix` for the job's temporary files; `runner: dataflow` needs it."""
    staging_location: Prefix | None = None
    """`gs://bucket/prefix` for what the job ships to its workers; by default `temp_location`."""
    zone: Zone | None = None
    """Zone of the workers; by default Dataflow chooses one with room in the region."""
    service_account: Account | None = None
    """Account that the workers act as; by default Compute Engine's default one."""
    impersonate: tuple[Account, ...] = ()
    """Accounts through which the job is launched and watched, instead of the Airflow connection's: the last one acts,
    each before it lends itself to the next."""
    network: str | None = Field(None, min_length=1)
    """VPC network of the workers."""
    subnetwork: Subnetwork | None = None
    """Subnetwork of the workers: `regions/REGION/subnetworks/NAME`, or its URL where it is another project's."""
    public_ips: bool = True
    """Whether workers get public addresses; without, the subnetwork needs Private Google Access."""
    machine_type: Machine | None = None
    """Compute Engine machine type of the workers, such as `n2-standard-4`."""
    disk_gb: int | None = Field(None, ge=10, le=65_536)
    """Disk of each worker in GB. The conversion itself keeps nothing on disk."""
    num_workers: int | None = Field(None, ge=1, le=4_000)
    """Workers to start with."""
    max_num_workers: int | None = Field(None, ge=1, le=4_000)
    """Most workers at once, and so the most that an hour can cost. More than there are shards find nothing to do."""
    autoscaling: Literal["throughput", "none"] = "throughput"
    """Whether Dataflow changes the number of workers as the job goes on."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=MOST_LABELS)
    """Labels of the job, for the bill."""
    worker_image: Image | None = None
    """Container image that has imagemill in it; by default Beam's own, and imagemill is shipped as a wheel."""
    worker_wheel: Wheel | None = None
    """Path or URI of the wheel to ship; by default one is made of the installed imagemill."""
    experiments: tuple[str, ...] = ()
    """Values of Beam's `--experiments`."""
    service_options: tuple[str, ...] = ()
    """Values of Beam's `--dataflow_service_options`."""
    endpoint: Address | None = None
    """Address of Dataflow's API, where it is not the public one."""
    poll_seconds: float = Field(15, gt=0, le=600)
    """Pause between two looks at the running job."""
    deferrable: bool | None = None
    """Whether a waiting task gives its worker slot back and waits in the triggerer; by default what Airflow's
    `[operators] default_deferrable` says. Switch it off where the triggerer cannot import imagemill."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Contradiction]:
        at = ("conversion", "dataflow")
        if self.zone and self.region and not self.zone.startswith(f"{self.region}-"):
            problem = f"The zone {self.zone} is not in the region {self.region}."
            yield Contradiction((*at, "zone"), problem, f"Choose one such as {self.region}-b, or drop `zone`.")
        if self.region and self.subnetwork and f"regions/{self.region}/" not in self.subnetwork:
            problem = f"The subnetwork {self.subnetwork} is not in the region {self.region}."
            yield Contradiction((*at, "subnetwork"), problem, f"Choose one of regions/{self.region}/subnetworks.")
        if self.num_workers and self.max_num_workers and self.num_workers > self.max_num_workers:
            problem = f"The job would start with {self.num_workers} workers, and may have {self.max_num_workers}."
            yield Contradiction((*at, "max_num_workers"), problem, "Make `max_num_workers` the larger one.")
        if self.worker_image and self.worker_wheel:
            problem = "The workers would have imagemill from an image and from a wheel."
            yield Contradiction((*at, "worker_wheel"), problem, "Keep one of `worker_image` and `worker_wheel`.")
        if not self.public_ips and not self.subnetwork:
            problem = "Workers without public addresses need a subnetwork that lets them reach Google."
            yield Contradiction((*at, "public_ips"), problem, "Name a `subnetwork` with Private Google Access.")
