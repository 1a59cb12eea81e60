"""What a case gives to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.contest import Result


@dataclass(frozen=True)
class Ratio:
    """One promise, measured.

    Attributes:
        what: In words.
        value: What came out.
        target: What it should be.
        at_least: Whether the target is a floor; otherwise it is a ceiling.
    """

    what: str
    value: float
    target: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class Measured:
    """One case.

    Attributes:
        title: Headline.
        about: What was measured, in a sentence or two.
        results: One for each contestant.
        ratios: The promises it is about.
    """

    title: str
    about: str
    results: Sequence[Result]
    ratios: Sequence[Ratio] = field(default_factory=tuple)
