"""What validation found out about one version, as data: for people (HTML), for machines (JSON), for `publish`."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from imagemill.diff.model import VersionDiff
from imagemill.documents import parse_document
from imagemill.errors import UnusableData
from imagemill.version.facts import ImageStatistics

REPORT = "validation.json"
REPORT_PAGE = "validation.html"

REPORT_SCHEMA_VERSION = 2
"""Version of the report's own layout; a reader refuses a newer one."""


class Severity(StrEnum):
    """What a failed check means for publishing: an error stops it, a warning is told."""

    ERROR = "error"
    WARNING = "warning"


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(_Frozen):
    """Where a fault is."""

    object: str = Field("", description="name of the shard or other object within the version")
    offset: int | None = Field(None, ge=0, description="byte offset of the record's frame in the (uncompressed) shard")
    key: str = Field("", description="the record's or row's filename")
    detail: str = ""

    def __str__(self) -> str:
        where = f"{self.object} at byte {self.offset}" if self.offset is not None else self.object
        subject = ", ".join(part for part in (where, self.key) if part)
        return ": ".join(part for part in (subject, self.detail) if part)


class CheckResult(_Frozen):
    """One check's outcome."""

    name: str
    severity: Severity
    verdict: Verdict
    observed: str
    expected: str
    advice: str = Field("", description="what to do about it; empty where the check passed")
    places: tuple[Place, ...] = Field((), description="the first faults; `faults` counts all of them")
    faults: int = Field(0, ge=0)

    @property
    def blocks(self) -> bool:
        """Whether it stands between the version and its publication."""
        return self.verdict is Verdict.FAILED and self.severity is Severity.ERROR


class SampleFacts(_Frozen):
    """How much the sampled checks can know."""

    records: int = Field(ge=0)
    population: int = Field(ge=0)
    seed: int
    reader: str = Field(description="who read the sample back, with its version")
    confidence: float = Field(ge=0, le=1, description="chance that a defect in 0.5% of the records is in the sample")
    sizes: tuple[tuple[int, int, int], ...] = Field((), description="width, height and images, of the commonest sizes")


class AccountRow(_Frozen):
    """One line of the accounts table."""

    split: str
    label: str
    rows: int
    records: int
    rejected: int
    duplicates: int


class RejectExample(_Frozen):
    """One rejected row, as `rejects.jsonl` has it."""

    key: str
    label: str
    detail: str


class RejectGroup(_Frozen):
    """The rejects of one reason."""

    reason: str
    count: int
    examples: tuple[RejectExample, ...] = ()


class Base(_Frozen):
    """The published version that this one was compared with."""

    version: str
    label_counts: dict[str, int] = Field(default_factory=dict, description="records by label")
    diff: VersionDiff | None = Field(None, description="None where it could not be found out")


class Report(_Frozen):
    """Everything validation found out about one version. A failed report is data, not an exception."""

    schema_version: int = REPORT_SCHEMA_VERSION
    dataset: str
    version: str
    version_uri: str
    fingerprint: str
    manifest_sha256: str = Field(description="the manifest that was validated; another one needs another validation")
    checks: tuple[CheckResult, ...]
    sample: SampleFacts | None = None
    accounts: tuple[AccountRow, ...] = ()
    label_counts: dict[str, dict[str, int]] = Field(default_factory=dict, description="records by label, then split")
    rejects: tuple[RejectGroup, ...] = ()
    images: ImageStatistics | None = None
    base: Base | None = Field(None, description="None where there was nothing to compare with")
    total_bytes: int = Field(0, description="size of the objects the manifest names")
    provenance: dict[str, str] = Field(default_factory=dict, description="facts about the run, for a person")
    seconds: float = Field(0, ge=0, description="how long validation took")

    @property
    def verdict(self) -> Verdict:
        return Verdict.FAILED if any(check.blocks for check in self.checks) else Verdict.PASSED

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that stand between the version and its publication."""
        return tuple(check for check in self.checks if check.blocks)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        return tuple(
            check for check in self.checks if check.verdict is Verdict.FAILED and check.severity is Severity.WARNING
        )

    def check(self, name: str) -> CheckResult:
        """Returns the check of that name.

        Raises:
            KeyError: There is none.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"


def parse_report(data: bytes, *, where: str) -> Report:
    """Reads a report; `where` is its URI, for messages. `parse_document` tells what is refused."""
    newest = {"schema_version": REPORT_SCHEMA_VERSION}
    return parse_document(Report, data, where=where, what="validation report", newest=newest)


def raise_if_failed(report: Report) -> None:
    """Turns a failed report into the error that stops a run.

    Raises:
        UnusableData: A check of severity error failed; the message has each one's finding and advice.
    """
    if report.passed:
        return
    failures = report.failures
    lines = [f"{report.dataset} {report.version} failed {len(failures)} of {len(report.checks)} checks:"]
    for check in failures:
        first = f" (first: {check.places[0]})" if check.places else ""
        lines.append(f"- {check.name}: {check.observed}; expected {check.expected}{first}. {check.advice}")
    lines.append(f"The published version is untouched. Report: {report.version_uri}/{REPORT_PAGE}")
    raise UnusableData("\n".join(lines))
