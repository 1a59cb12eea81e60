"""From what a runner raises back to the error that stopped the job: exceptions cross Beam wrapped, or as text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagemill.errors import ImagemillError, TemporaryFault, error_in_text, family_class

_STAGE = " [while running "
"""Begins what Beam adds to a message: the stage it came from."""

# What Flink and Prism say of a worker that is gone (it died, its machine went away) or did not come up in time.
_WORKER_LOST = re.compile(r"\bStatusRuntimeException: (CANCELLED|UNAVAILABLE)\b|\bdidn't get control connection\b")


def find_failure(error: BaseException) -> ImagemillError | None:
    """Returns the imagemill error behind an exception, or None where there is none: then it is a bug."""
    for cause in _chain(error):
        if isinstance(cause, ImagemillError):
            return _clean(cause)
        found = error_in_text(str(cause))
        if found:
            return found
        if _is_unreachable(cause):
            said = str(cause) or type(cause).__name__
            return TemporaryFault(
                f"the runner cannot be reached ({said}); check --job_endpoint, and that a job server answers there"
            )
        if type(cause) is RuntimeError and _lost_worker(str(cause)):
            return TemporaryFault("the runner lost a worker, or waited for one in vain; its log may say why")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and its causes; not what was only being handled when it came: that is no reason for it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _clean(error: ImagemillError) -> ImagemillError:
    message, added, _ = str(error).partition(_STAGE)
    family = family_class(type(error))
    return family(message) if added and family else error


def _lost_worker(text: str) -> bool:
    return _WORKER_LOST.search(text) is not None and "Traceback (most recent call last)" not in text


def _is_unreachable(error: BaseException) -> bool:
    import grpc

    if isinstance(error, grpc.FutureTimeoutError):
        return True
    return isinstance(error, grpc.RpcError) and error.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
