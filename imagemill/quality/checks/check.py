"""What a check is: a name, a pure judgement of the evidence, and what to do when it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from imagemill.quality.evidence import Evidence, Faults
from imagemill.quality.report import CheckResult, Severity, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A judgement: failed where it has faults.

    Attributes:
        observed: What was seen, as a phrase.
        expected: What should have been seen, as a phrase.
        faults: What is wrong, and where.
        skipped: Why nothing could be judged; "" where it could.
    """

    observed: str
    expected: str
    faults: Faults = field(default_factory=Faults)
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: Stable; specs and alerts refer to it.
        judge: Judges the evidence; reads nothing else.
        advice: What to do where it fails, as a sentence.
        severity: What its failure means for publishing.
    """

    name: str
    judge: Callable[[Evidence], Outcome]
    advice: str
    severity: Severity = Severity.ERROR

    def run(self, evidence: Evidence) -> CheckResult:
        outcome = self.judge(evidence)
        if outcome.faults:
            verdict = Verdict.FAILED
        elif outcome.skipped:
            verdict = Verdict.SKIPPED
        else:
            verdict = Verdict.PASSED
        return CheckResult(
            name=self.name,
            severity=self.severity,
            verdict=verdict,
            observed=outcome.skipped if verdict is Verdict.SKIPPED else outcome.observed,
            expected=outcome.expected,
            advice=self.advice if verdict is Verdict.FAILED else "",
            places=tuple(outcome.faults.places),
            faults=outcome.faults.count,
        )
