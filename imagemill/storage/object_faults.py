"""Turn what an object store answers into the three families, with who asked for what and what is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from obstore import exceptions

from imagemill.errors import CallerError, ImagemillError, TemporaryFault
from imagemill.storage.retry import RequestFault, Spent
from imagemill.storage.store import MissingObject, PreconditionFailed

Doing = Literal["read", "list", "write", "delete", "look at"]

_READER, _WRITER = "roles/storage.objectViewer", "roles/storage.objectUser"

_DETAIL_LENGTH = 300

_STATUS = re.compile(r"status code: (\d{3})|status (\d{3}) ")
_BODY = re.compile(r"status code: \d{3}[^:]*: (.*)", re.DOTALL)
_MESSAGE = re.compile(r"<(?:Message|Details)>([^<]*)<")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist|ContainerNotFound")
_QUOTA = re.compile("quota", re.IGNORECASE)
_PAYS = re.compile(r"User ?Project|requester pays|serviceusage|to be billed", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """What a request was about, for messages.

    Attributes:
        scheme: "gs", "s3" or "az".
        bucket: Its name.
        object: Full name within the bucket, or the prefix of a listing.
        account: Who asked.
        payer: Project that was to pay for the request; "" for the bucket's own.
    """

    scheme: str
    bucket: str
    object: str
    account: str
    payer: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.object}".rstrip("/")


def request_fault(error: Exception) -> RequestFault:
    """Returns what an exception of obstore says; the status stands only in its message."""
    text = str(error).split("\n\nDebug source:", 1)[0]
    found = _STATUS.search(text)
    body = _BODY.search(text)
    detail = body[1] if body else text.rpartition(" - ")[2]
    if found:
        return RequestFault(int(found[1] or found[2]), detail)
    for kind, status in _STATUS_OF:
        if isinstance(error, kind):
            return RequestFault(status, detail)
    return RequestFault(None, detail)


# Where a store reports a refusal without an HTTP status.
_STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (FileNotFoundError, 404),
    (exceptions.AlreadyExistsError, 412),
    (exceptions.PreconditionError, 412),
    (exceptions.PermissionDeniedError, 403),
    (exceptions.UnauthenticatedError, 401),
)


def explain(fault: RequestFault | Spent, place: Place, doing: Doing) -> ImagemillError:
    """Returns what to raise for a request that is not repeated, or not any more."""
    if isinstance(fault, Spent):
        return TemporaryFault(
            f"cannot {doing} {place}: {fault.fault} ({fault.attempts} attempts in {fault.seconds:.0f} s); "
            "the store is out of reach or overloaded; run it again, it continues"
        )
    if fault.status == 404 and not _NO_BUCKET.search(fault.detail):
        return MissingObject(f"{place}: there is no such object")
    if fault.status in (409, 412):
        return PreconditionFailed(f"{place}: somebody else wrote it first ({fault}); read it again, then decide")
    return CallerError(
        f"cannot {doing} {place} as {place.account}: {_refusal(fault, place, doing)} ({fault}: {_short(fault.detail)})"
    )


def _refusal(fault: RequestFault, place: Place, doing: Doing) -> str:
    """Returns what is wrong, and the way out."""
    bucket = f"{place.scheme}://{place.bucket}"
    if _PAYS.search(fault.detail):
        return _payment(place.payer)
    if fault.status == 404:
        return f"there is no bucket {bucket}; create it, or check its spelling"
    if fault.status == 401:
        return (
            "the store does not know this account; sign in anew with `gcloud auth application-default login`, or "
            f"name a key of an account that has {_role(doing, place)} on {bucket}"
        )
    if fault.status == 403 and _QUOTA.search(fault.detail):
        return f"a quota of {bucket} or its project is used up; raise it or free some, then run it again"
    if fault.status == 403:
        return f"it lacks the permission; grant it {_role(doing, place)} on {bucket}"
    return f"{bucket} refuses the request; check the names of bucket and object"


def _role(doing: Doing, place: Place) -> str:
    """Returns what to grant; who reads before writing is spared a second refusal."""
    if place.scheme != "gs":
        return "a role that allows it"
    return _WRITER if doing in ("write", "delete") else f"{_READER} (to write there, too: {_WRITER})"


def _payment(payer: str) -> str:
    if not payer:
        return "the requester pays here; set IMAGEMILL_GCS_USER_PROJECT to a project that this account may bill"
    return (
        f"the project {payer!r} cannot pay; check IMAGEMILL_GCS_USER_PROJECT and that project's billing, and grant the "
        "account roles/serviceusage.serviceUsageConsumer on it"
    )


def _short(detail: str) -> str:
    message = _MESSAGE.search(detail)
    text = " ".join((message[1] if message else detail).split())
    return text if len(text) <= _DETAIL_LENGTH else f"{text[:_DETAIL_LENGTH]}…"
