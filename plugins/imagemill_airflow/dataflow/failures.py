"""What stopped a job on Dataflow, in the words that it, its launcher or the service uses, and whether time heals it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagemill.errors import CallerError, ImagemillError, TemporaryFault, error_in_text
from imagemill_airflow.beam_launch import JobCrashed

SHOWN_LINES = 12
"""Last lines of what was said that go into the error."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of failure.

    Attributes:
        sign: What its words have in common; a group may hold the part worth naming.
        family: Whether a person has to do something first.
        what: What happened; `{0}` is the sign's first group.
        advice: The way out.
    """

    sign: re.Pattern[str]
    family: type[ImagemillError]
    what: str
    advice: str


def _sign(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# In this order: a job that has no quota has lost its workers too.
_KINDS = (
    _Kind(
        _sign(r"ModuleNotFoundError: No module named '([\w.]+)'|No matching distribution found for (\S+)"),
        CallerError,
        "a package is missing on the workers: {0}",
        "ship it by conversion.dataflow.worker_wheel, or bake it into conversion.dataflow.worker_image",
    ),
    _Kind(
        _sign(r"quota '?([\w-]+)'? exceeded\W+limit: 0(?:\.0+)?(?!\.?\d)"),
        CallerError,
        "the quota is zero: {0}",
        "ask for quota in that region, or choose another region or machine_type",
    ),
    _Kind(
        _sign(r"QUOTA_EXCEEDED(?:.*?quota '([\w-]+)')?|quota '([\w-]+)' exceeded|RESOURCE_EXHAUSTED"),
        TemporaryFault,
        "the quota is used up: {0}",
        "it heals when other jobs end; otherwise ask for more, or lower max_num_workers",
    ),
    _Kind(
        _sign(r"(ZONE_RESOURCE_POOL_EXHAUSTED|does not have enough resources available)"),
        TemporaryFault,
        "Google has no machines free in that zone",
        "it heals by itself; otherwise drop conversion.dataflow.zone, or choose another region or machine_type",
    ),
    _Kind(
        _sign(r"(already active job named|active job with the same name)"),
        TemporaryFault,
        "a job of this name is alive already",
        "the next try joins it",
    ),
    _Kind(
        _sign(
            r"PERMISSION_DENIED|permission '([\w.]+)' denied|does not have (\S+ )?access|\b403 (?:Forbidden|POST|GET)"
            r"|Forbidden: 403|lacks? (?:the )?permission"
        ),
        CallerError,
        "a permission is missing",
        "grant it to the account named below, or name another one in conversion.dataflow.service_account",
    ),
    _Kind(
        _sign(r"lost contact with the service|was preempted|INSTANCE_PREEMPTED|SDK harness.*disconnect"),
        TemporaryFault,
        "the workers were lost: preempted, or out of memory",
        "another try may do; if it happens again, choose a machine_type with more memory",
    ),
    _Kind(
        _sign(
            r"\b(?:429|50[0234]) (?:POST|GET|PUT)\b|ServiceUnavailable|internal (?:issue|error)|temporarily unavailable"
        ),
        TemporaryFault,
        "Google's service failed",
        "another try may do",
    ),
    _Kind(
        _sign(r"The resource '[^']+' was not found|Invalid value for field|INVALID_ARGUMENT|\b40[04] (?:POST|GET)\b"),
        CallerError,
        "Dataflow refuses a setting",
        "correct it in conversion.dataflow",
    ),
)


def explain(job: str, said: Sequence[str]) -> Exception:
    """Returns the error that a failed job stands for: of one of the three families, or a `JobCrashed`.

    Args:
        job: Which job, for the message.
        said: The job's error messages, or the last lines of its launcher, in order.
    """
    text = "\n".join(said)
    shown = "\n".join(text.splitlines()[-SHOWN_LINES:]) or "(it said nothing)"
    if ours := error_in_text(text):
        return type(ours)(f"{job} failed: {ours}")
    for kind in _KINDS:
        if found := kind.sign.search(text):
            named = next((group for group in found.groups() if group), "see below")
            return kind.family(f"{job} failed: {kind.what.format(named)}; {kind.advice}. It said:\n{shown}")
    return JobCrashed(f"{job} crashed; it said:\n{shown}")
