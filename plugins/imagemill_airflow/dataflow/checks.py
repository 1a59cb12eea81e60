"""Looks before a job is paid for: are the buckets there, writable and near, is the wheel one that workers can use?"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from imagemill.errors import CallerError, UnusableData
from imagemill.spec.dataflow import Dataflow
from imagemill.storage import MissingObject, open_store, parse, split
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.worker_wheel import PACKAGES

log = logging.getLogger(__name__)

_CONTINENTS = {"EU": "europe-", "US": "us-", "ASIA": "asia-"}
"""Multi-regions and how the regions in them begin. https://cloud.google.com/storage/docs/locations"""


def check_buckets(settings: Dataflow, read: Iterable[str]) -> None:
    """Checks the job's own prefixes, and warns of buckets that are far from its region.

    Args:
        settings: The spec's section.
        read: URIs that the job reads or writes besides.

    Raises:
        CallerError: The temporary or the staging prefix cannot be written.
    """
    places = {place for place in (settings.temp_location, settings.staging_location) if place}
    client = ObjectStoreSettings.from_environment()
    if settings.impersonate:
        # Whoever launches the job also stages its files.
        client = replace(client, gcs_impersonate=settings.impersonate)
    for place in sorted(places):
        _check_writable(place, settings, client)
    buckets = {parse(place).bucket for place in (*places, *read) if place.startswith("gs://")}
    for bucket in sorted(buckets):
        _warn_if_far(bucket, settings.region or "")


def check_wheel(uri: str) -> None:
    """Checks that a wheel is there and holds what the workers run.

    Raises:
        CallerError: It is not there, is no wheel, or is another project's.
    """
    folder, name = split(uri)
    try:
        content = open_store(folder).read(name)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            held = {path.partition("/")[0] for path in archive.namelist()}
    except (MissingObject, UnusableData):
        raise CallerError(f"there is no worker wheel at {uri}; {_MAKE_ONE}") from None
    except zipfile.BadZipFile:
        raise CallerError(f"{uri} is not a wheel; {_MAKE_ONE}") from None
    if missing := [package for package in PACKAGES if package not in held]:
        raise CallerError(f"the worker wheel {uri} lacks {' and '.join(missing)}; {_MAKE_ONE}")


_MAKE_ONE = (
    "make it by `python -m imagemill.worker_wheel FOLDER`, or drop conversion.dataflow.worker_wheel to have one made"
)


def _check_writable(place: str, settings: Dataflow, client: ObjectStoreSettings) -> None:
    store, probe = open_store(place, settings=client), f"imagemill-check-{uuid4().hex}"
    try:
        store.write(probe, b"")
    except CallerError as error:
        bucket = parse(place).bucket
        raise CallerError(
            f"the job cannot keep its files in {place}: {error}. If the bucket is missing: "
            f"gcloud storage buckets create gs://{bucket} --location={settings.region} --project={settings.project}"
        ) from error
    with suppress(CallerError):  # an account that may create and not delete is enough for a job
        store.delete(probe)


def _warn_if_far(bucket: str, region: str) -> None:
    found = _location(bucket)
    if found is None:
        return
    near = found.lower() == region or region.startswith(_CONTINENTS.get(found, found.lower()))
    if not near:
        log.warning(
            "the bucket gs://%s is in %s and the job runs in %s: every byte crosses regions, slowly, and is billed; "
            "run it in the bucket's region (conversion.dataflow.region), or use a bucket in %s",
            bucket,
            found,
            region,
            region,
        )


def _location(bucket: str) -> str | None:
    """Returns a bucket's region or multi-region; None where it is a pair of regions, or nobody may know."""
    from imagemill.storage.google_api import GoogleApi
    from imagemill.storage.object_client import open_client

    api = GoogleApi(open_client("gs", bucket, ObjectStoreSettings.from_environment()))
    with suppress(CallerError):  # storage.buckets.get is a permission that a job does not need
        answer = api.request(
            "look at", "", "GET", f"/storage/v1/b/{bucket}", params={"fields": "location,locationType"}
        )
        told = answer.json()
        return None if told.get("locationType") == "dual-region" else str(told["location"])
    return None
