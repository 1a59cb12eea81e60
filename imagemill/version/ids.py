"""Names of versions and of the places where they lie."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from imagemill.errors import CallerError

VERSIONS = "versions/"

RETIRED = "retired.json"
"""Mark of a version that `prune` is removing; with it, or without a manifest, a folder is no version."""

FINGERPRINT_DIGITS = 8

VERSION_PATTERN = rf"(\d{{8}}T\d{{6}}Z)-([0-9a-f]{{{FINGERPRINT_DIGITS}}})"
_VERSION_ID = re.compile(VERSION_PATTERN)
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def new_version_id(fingerprint: str, now: datetime) -> str:
    """Returns `<YYYYMMDDTHHMMSSZ>-<first 8 digits of the fingerprint>`; ids sort by time.

    Raises:
        ValueError: `now` has no time zone, or the fingerprint is not hexadecimal.
    """
    if now.tzinfo is None:
        raise ValueError(f"{now.isoformat()} has no time zone; pass an aware datetime")
    version = f"{now.astimezone(UTC).strftime(_TIME_FORMAT)}-{fingerprint[:FINGERPRINT_DIGITS]}"
    if _VERSION_ID.fullmatch(version) is None:
        raise ValueError(f"{fingerprint!r} is not a hexadecimal fingerprint")
    return version


def created_at(version: str) -> datetime:
    """Returns the time in a version id.

    Raises:
        CallerError: It is not a version id.
    """
    match = _VERSION_ID.fullmatch(version)
    try:
        if match:
            return datetime.strptime(match[1], _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:  # digits that are no date, such as month 13
        pass
    raise CallerError(f"{version!r} is not a version id; they look like 20260131T235959Z-0123abcd")


def is_version_id(name: str) -> bool:
    try:
        created_at(name)
    except CallerError:
        return False
    return True


def object_key(version: str, name: str) -> str:
    """Returns an object's key relative to the dataset's output folder."""
    return f"{VERSIONS}{version}/{name}"
