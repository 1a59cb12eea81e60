"""What a check found: a verdict, what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from imagemill.errors import CallerError, ImagemillError, TemporaryFault, UnusableData

Verdict = Literal["good", "warning", "fault", "skipped"]
Family = Literal["caller", "temporary", "data"]

_WORST_FIRST: tuple[type[ImagemillError], ...] = (CallerError, UnusableData, TemporaryFault)
"""Whose exit code wins where several families are at fault: first what only a person can change."""


class Finding(BaseModel):
    """What one check says of one thing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    verdict: Verdict
    says: str
    """What was seen, naming the value."""
    advice: str = ""
    """What to do; empty where nothing is wrong, or where `says` has the way out already."""
    family: Family | None = None
    """The family of errors that a run would end with; None unless it is a fault."""


def good(check: str, says: str) -> Finding:
    """Returns a finding that all is well."""
    return Finding(check=check, verdict="good", says=says)


def skipped(check: str, says: str) -> Finding:
    """Returns a finding that there was nothing to look at."""
    return Finding(check=check, verdict="skipped", says=says)


def warning(check: str, says: str, advice: str) -> Finding:
    """Returns a finding that works today and deserves a look."""
    return Finding(check=check, verdict="warning", says=says, advice=advice)


def fault(check: str, says: str, advice: str, *, family: Family = "caller") -> Finding:
    """Returns a finding that a run would fail."""
    return Finding(check=check, verdict="fault", says=says, advice=advice, family=family)


class Faulty(Exception):
    """Ends a check with a finding.

    Attributes:
        finding: The finding.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.says)
        self.finding = finding


@contextmanager
def as_finding(check: str, *, advice: str = "") -> Iterator[None]:
    """Turns an error of ours into the finding that a run would end with it.

    Raises:
        Faulty: There was an error of ours; its message is the finding's text.
    """
    try:
        yield
    except ImagemillError as error:
        raise Faulty(found(check, error, advice=advice)) from error


def found(check: str, error: ImagemillError, *, advice: str = "") -> Finding:
    """Returns the finding that stands for an error of ours, whose message has the way out in it."""
    families: dict[str, Family] = {"caller": "caller", "temporary": "temporary", "data": "data"}
    return fault(check, str(error), advice, family=families[error.family])


def exit_code(findings: Iterable[Finding]) -> int:
    """Returns what the command exits with: 0 without a fault, otherwise the worst family's code."""
    families = {finding.family for finding in findings if finding.verdict == "fault"}
    return next((family.exit_code for family in _WORST_FIRST if family.family in families), 0)
