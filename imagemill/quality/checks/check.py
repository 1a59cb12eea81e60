"""What a check is: a name, a pure judgement of the evidence, and what to do when it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from imagemill.quality.evidence import Evidence, Faults
from imagemill.quality.report import CheckResult, Severity, Verdict
from imagemill.spec.validation import CheckName


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A judgement: failed where it has faults.

    Attributes:
        observed: What was seen, as a phrase.
        expected: What should have been seen, as a phrase.
        faults: What is wrong, and where.
        skipped: Why nothing could be judged; "" where it could.
        tolerable: The faults are few enough to be told as a warning, whatever the check's severity.
    """

    observed: str
    expected: str
    faults: Faults = field(default_factory=Faults)
    skipped: str = ""
    tolerable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: Stable; one of `CheckName`, since specs refer to it.
        judge: Judges the evidence; reads nothing else.
        advice: What to do where it fails, as a sentence.
        severity: What its failure means for publishing, unless the spec says otherwise.
    """

    name: CheckName
    judge: Callable[[Evidence], Outcome]
    advice: str
    severity: Severity = Severity.ERROR

    def run(self, evidence: Evidence) -> CheckResult:
        level = evidence.settings.checks.get(self.name, self.severity.value)
        if level == "skip":
            return CheckResult(
                name=self.name,
                severity=self.severity,
                verdict=Verdict.SKIPPED,
                observed="switched off by `validation.checks` in the spec",
                expected="nothing",
            )
        outcome = self.judge(evidence)
        if outcome.faults:
            verdict = Verdict.FAILED
        elif outcome.skipped:
            verdict = Verdict.SKIPPED
        else:
            verdict = Verdict.PASSED
        return CheckResult(
            name=self.name,
            severity=Severity.WARNING if outcome.faults and outcome.tolerable else Severity(level),
            verdict=verdict,
            observed=outcome.skipped if verdict is Verdict.SKIPPED else outcome.observed,
            expected=outcome.expected,
            advice=self.advice if verdict is Verdict.FAILED else "",
            places=tuple(outcome.faults.places),
            faults=outcome.faults.count,
        )
