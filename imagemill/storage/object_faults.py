"""Turn what an object store answers into the three families, with who asked for what and what is missing."""

from __future__ import annotations

import json
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

_ANSWER = re.compile(r" - Server returned [^:]*status code: (\d{3})[^:]*: ")
_CODE = re.compile(r"<Code>([^<]*)<")
_MESSAGE = re.compile(r"<(?:Message|Details)>([^<]*)<")
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_NO_BUCKET_MESSAGE = "The specified bucket does not exist."
"""What tells a missing bucket from a missing object in the JSON API, which calls both "notFound"."""
_KEPT = "a retention policy or a hold of {bucket} keeps the object; wait until it ends, or use another prefix"
_WAYS_OUT = {
    "retentionpolicynotmet": _KEPT,
    "objectunderactivehold": _KEPT,
    "accountdisabled": "the project of {bucket} has no billing account that works; mend it in the Google Cloud console",
    "quotaexceeded": "a quota of {bucket} or its project is used up; raise it or free some, then run it again",
}
"""By reasons, which the XML API writes with a capital."""
_PAYS = re.compile(
    r"User project specified in the request|Bucket is a requester pays bucket|"
    r"\S+ does not have serviceusage\.services\.use access"
)
"""Beginnings of messages whose reason is a general one."""


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
    """Returns what an exception of obstore says, whatever the object is called."""
    text = str(error).split("\n\nDebug source:", 1)[0]
    status = next((status for kind, status in _STATUS_OF if isinstance(error, kind)), None)
    answers = list(_ANSWER.finditer(text))
    if not answers:
        return RequestFault(status, text.rpartition(" - ")[2])
    if status is None:  # the URL comes first, in which names are encoded
        return answer_fault(int(answers[0][1]), text[answers[0].end() :])
    return answer_fault(status, text[answers[-1].end() :])  # the name comes first, as it is


def answer_fault(status: int, body: str) -> RequestFault:
    """Returns what a refusal says, in XML or in the JSON API's form."""
    try:
        error = json.loads(body)["error"]
        detail, reason = str(error["message"]), str(error["errors"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        code, message = _CODE.search(body), _MESSAGE.search(body)
        return RequestFault(status, message[1] if message else body, code[1] if code else "")
    return RequestFault(status, detail, "NoSuchBucket" if detail == _NO_BUCKET_MESSAGE else reason)


# An exception that has a type of its own names the object before it tells the status.
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
    if fault.status == 404 and fault.reason not in _NO_BUCKET:
        return MissingObject(f"{place}: there is no such object")
    if fault.status in (409, 412):
        return PreconditionFailed(f"{place}: somebody else wrote it first ({fault}); read it again, then decide")
    said = ", ".join(filter(None, (str(fault), fault.reason)))
    return CallerError(
        f"cannot {doing} {place} as {place.account}: {_refusal(fault, place, doing)} ({said}: {_short(fault.detail)})"
    )


def _refusal(fault: RequestFault, place: Place, doing: Doing) -> str:
    """Returns what is wrong, and the way out."""
    bucket, reason = f"{place.scheme}://{place.bucket}", fault.reason.casefold()
    if reason.startswith("userproject") or _PAYS.match(fault.detail):
        return _payment(place.payer)
    if fault.status == 404:
        return f"there is no bucket {bucket}; create it, or check its spelling"
    if fault.status == 401:
        return (
            "the store does not know this account; sign in anew with `gcloud auth application-default login`, or "
            f"name a key of an account that has {_role(doing, place)} on {bucket}"
        )
    if reason in _WAYS_OUT:
        return _WAYS_OUT[reason].format(bucket=bucket)
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
    text = " ".join(detail.split())
    return text if len(text) <= _DETAIL_LENGTH else f"{text[:_DETAIL_LENGTH]}…"
