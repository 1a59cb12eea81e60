"""Checks of this machine: variables, folders, disk, clock, and whether the store's service answers."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from imagemill.doctor.finding import Faulty, Finding, fault, good, warning
from imagemill.doctor.installation import nearest_folder
from imagemill.home import HOME_VARIABLE, SPECS_VARIABLE
from imagemill.storage.settings import EMULATOR, ObjectStoreSettings

GIB = 1 << 30
SKEW_WARNING_SECONDS = 30
SKEW_FAULT_SECONDS = 300
"""Google refuses a token that was signed more than five minutes from its own time."""

_PREFIX = "IMAGEMILL_"
_ALIKE = 0.9
_OTHER_VARIABLES = (
    HOME_VARIABLE,
    SPECS_VARIABLE,
    "IMAGEMILL_STORE",
    "IMAGEMILL_ALERT_EMAIL",
    "IMAGEMILL_GCP_CONN_ID",
    "IMAGEMILL_REQUIRE_RUNNERS",
)
_REFERENCE = re.compile(r"\$\{(\w+)")


def known_variables() -> set[str]:
    """Returns the names of the variables that imagemill itself reads."""
    settings = {f"{_PREFIX}{field.name.upper()}" for field in fields(ObjectStoreSettings)}
    return settings | set(_OTHER_VARIABLES)


def check_variables(environment: Mapping[str, str], spec_files: Iterable[Path]) -> Iterator[Finding]:
    """Checks for misspelled variables; one that is like none of imagemill's is somebody else's."""
    in_specs = {name for path in spec_files for name in _referenced(path)}
    known = known_variables() | in_specs
    unknown = sorted(name for name in environment if name.startswith(_PREFIX) and name not in known)
    near = {name: difflib.get_close_matches(name, sorted(known), n=1, cutoff=_ALIKE) for name in unknown}
    for name, meant in near.items():
        if meant:
            says = f"{name} is set, and nothing reads it"
            yield warning("variables", says, f"did you mean {meant[0]}? docs/configuration.md lists all")
    if not any(near.values()):
        count = sum(name in known for name in environment)
        yield good("variables", f"{count} of imagemill's are set, and none is misspelled")


def _referenced(path: Path) -> list[str]:
    try:
        return _REFERENCE.findall(path.read_text(errors="replace"))
    except OSError:
        return []  # the spec's own check says that it cannot be read


def check_folder(folder: Path) -> Iterator[Finding]:
    """Checks that the home can be written, or be made where it is not there yet; makes nothing."""
    nearest = nearest_folder(folder)
    if not nearest.is_dir():
        yield fault("home", f"{nearest} is a file, and {folder} is to be a folder", f"move it, or set {HOME_VARIABLE}")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        way_out = f"grant this user (id {os.getuid()}) write permission, or set {HOME_VARIABLE} to a folder of its own"
        yield fault("home", f"{nearest} cannot be written", way_out)
    else:
        yield good("home", f"{folder} can be written")


def check_disk(folder: Path, *, needed: int, why: str) -> Iterator[Finding]:
    """Checks the free space where runs work.

    Args:
        folder: The home.
        needed: Bytes that a refresh may take.
        why: What that number comes from.
    """
    yield judge_disk(shutil.disk_usage(nearest_folder(folder)).free, folder=folder, needed=needed, why=why)


def judge_disk(free: int, *, folder: Path, needed: int, why: str) -> Finding:
    """Returns what is to be said of so many free bytes."""
    says = f"{free / GIB:.1f} GiB are free in {folder}, and {needed / GIB:.1f} GiB are wanted ({why})"
    if free < needed:
        return fault("disk", says, f"free some space, or set {HOME_VARIABLE} to a larger disk")
    return good("disk", says)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said when it was asked for nothing in particular; `date` is None where it did not say."""

    date: datetime | None


def ask_service(settings: ObjectStoreSettings) -> Answer:
    """Asks Google Cloud Storage, or the emulator, whether it is there.

    Raises:
        Faulty: It is not.
    """
    import httpx

    try:
        answer = httpx.get(settings.gcs_endpoint, timeout=settings.storage_deadline_seconds)
    except httpx.HTTPError as error:
        raise Faulty(_unreachable(settings, error)) from error
    date = answer.headers.get("Date")
    return Answer(parsedate_to_datetime(date) if date else None)


def _unreachable(settings: ObjectStoreSettings, error: Exception) -> Finding:
    if settings.gcs_emulator:
        says = f"{EMULATOR} names {settings.gcs_endpoint}, and nothing answers there ({error})"
        way_out = f"start the emulator (`make emulator`), or unset {EMULATOR} to use Google Cloud Storage"
        return fault("emulator", says, way_out, family="temporary")
    says = f"{settings.gcs_endpoint} does not answer ({error})"
    return fault("network", says, "check the network, its proxy and its firewall", family="temporary")


def check_emulator(settings: ObjectStoreSettings) -> Iterator[Finding]:
    """Says whether gs:// means Google's service or a stand-in."""
    if settings.gcs_emulator:
        says = f"gs:// is served by the emulator at {settings.gcs_endpoint}, not by Google"
        yield warning("emulator", says, f"unset {EMULATOR} where real buckets are meant")
    else:
        yield good("network", f"{settings.gcs_endpoint} answers")


def judge_clock(ours: datetime, theirs: datetime | None) -> Finding:
    """Returns what is to be said of two clocks; `theirs` is None where the service does not tell its time."""
    if theirs is None:
        return warning("clock", "the store does not say what time it is", "compare this machine's clock yourself")
    seconds = (ours - theirs).total_seconds()
    direction = "ahead of" if seconds > 0 else "behind"
    says = f"this machine's clock is {abs(seconds):.0f} s {direction} the store's"
    if abs(seconds) < SKEW_WARNING_SECONDS:
        return good("clock", says)
    way_out = "let NTP set it (`timedatectl set-ntp true`): sign-ins are refused, and versions are named by the time"
    if abs(seconds) < SKEW_FAULT_SECONDS:
        return warning("clock", says, way_out)
    return fault("clock", says, way_out)


def check_clock(answer: Answer) -> Iterator[Finding]:
    """Compares this machine's clock with the store's."""
    yield judge_clock(datetime.now(UTC), answer.date)
