"""Progress as lines of a task's log."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 10.0
"""Pause between two lines of one piece of work."""


class LoggedProgress:
    """Writes a line now and then, so that a person sees where a long task is, and that it moves."""

    def begin(self, what: str, *, total: int | None, unit: str) -> None:
        self._what, self._unit, self._done = what, unit, 0
        self._of = "" if total is None else f" of {total:,}"
        self._started = time.monotonic()
        self._next = self._started + LOG_EVERY_SECONDS

    def advance(self, amount: int = 1, *, volume: int = 0) -> None:
        self._done += amount
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOG_EVERY_SECONDS
            self._say(now)

    def end(self) -> None:
        self._say(time.monotonic())

    def _say(self, now: float) -> None:
        log.info("%s: %s%s %s in %.1f s", self._what, f"{self._done:,}", self._of, self._unit, now - self._started)
