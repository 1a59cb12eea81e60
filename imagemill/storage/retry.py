"""Repeat what time may heal: exponential backoff with jitter up to a deadline, and fewer requests when asked for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

T = TypeVar("T")

_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_OVERLOAD = frozenset({408, 429, 503})
_TOO_FAST = frozenset({"ratelimitexceeded", "userratelimitexceeded"})
"""Reasons of a 403 that means 429 (https://cloud.google.com/storage/docs/json_api/v1/status-codes)."""

LONGEST_PAUSE_SECONDS = 20.0

_EASY = 8  # requests at once that no store minds
_STEP = 0.25
_UNHURRIED, _CROWDED = 2.0, 4.0  # times the fastest answer
_FORGETTING = 1.001  # for each answer: what was fast an hour ago may not be possible now


class RequestFault(Exception):
    """One request to an object store failed.

    Attributes:
        status: The HTTP status; None where there was no whole answer.
        detail: What the service or the connection said.
        reason: The service's own word for it, such as "NoSuchKey"; "" where it gave none.
    """

    def __init__(self, status: int | None, detail: str, reason: str = "") -> None:
        super().__init__(f"{status or 'no answer'}: {detail}")
        self.status, self.detail, self.reason = status, detail, reason

    @property
    def temporary(self) -> bool:
        return self.overload or self.status in _TEMPORARY

    @property
    def overload(self) -> bool:
        """Whether fewer requests at once would have helped."""
        return self.status is None or self.status in _OVERLOAD or self.reason.casefold() in _TOO_FAST

    def __str__(self) -> str:
        if self.status is None:
            return self.detail
        return f"{self.status} {HTTPStatus(self.status).phrase}" if self.status in _KNOWN else str(self.status)


_KNOWN = frozenset(status.value for status in HTTPStatus)


class Spent(Exception):
    """The deadline has passed; `__cause__` is the last fault.

    Attributes:
        attempts: How often it was tried.
        seconds: For how long.
        fault: The last one.
    """

    def __init__(self, attempts: int, seconds: float, fault: RequestFault) -> None:
        super().__init__(f"{attempts} attempts in {seconds:.0f} s: {fault}")
        self.attempts, self.seconds, self.fault = attempts, seconds, fault


class Pace:
    """How many requests run at once: as many as are answered without waiting for each other, up to a limit.

    It starts low and grows while answers come about as fast as the fastest, so that a distant store gets many requests
    at once and a busy one few. A store that says it is overloaded gets half as many.
    """

    def __init__(self, limit: int) -> None:
        self._most = float(limit)
        self._least = float(min(limit, _EASY))
        self._allowed = self._least
        self._running = 0
        self._fastest = float("inf")
        self._halved_at = 0.0
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    def begin(self) -> None:
        """Waits until another request may run."""
        with self._changed:
            while self._running >= self.allowed:
                self._changed.wait()
            self._running += 1

    def end(self) -> None:
        """Hears that a request is over."""
        with self._changed:
            self._running -= 1
            self._changed.notify()

    def answered(self, seconds: float) -> None:
        """Hears how long a good answer took."""
        with self._changed:
            self._fastest = min(seconds, self._fastest * _FORGETTING)
            if seconds < self._fastest * _UNHURRIED:
                self._allowed = min(self._most, self._allowed + _STEP)
                self._changed.notify()
            elif seconds > self._fastest * _CROWDED and self._allowed > self._least:
                self._allowed -= _STEP

    def overloaded(self, *, since: float) -> None:
        """Hears that a request begun at `since` met an overload; those of one overload count once."""
        with self._changed:
            if since >= self._halved_at:
                self._allowed = max(1.0, self._allowed / 2)
                self._halved_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Retrier:
    """Runs requests until they are answered.

    Attributes:
        deadline_seconds: Time for one request with all its attempts.
        pause_seconds: Pause before the first repetition.
        pace: Shared by all requests to one store.
        renew: Makes new credentials; called once for each request that was refused for old ones.
    """

    deadline_seconds: float
    pause_seconds: float
    pace: Pace
    renew: Callable[[], None]

    def run(self, attempt: Callable[[], T]) -> T:
        """Returns what `attempt` returns; that is one request, and runs no other: it would wait for its own turn.

        Raises:
            RequestFault: It failed in a way that repeating does not change.
            Spent: It failed until the deadline.
        """
        started = time.monotonic()
        pause, attempts, renewed = self.pause_seconds, 0, False
        while True:
            attempts += 1
            begun = time.monotonic()
            try:
                result = self._in_turn(attempt)
            except RequestFault as fault:
                if fault.status == HTTPStatus.UNAUTHORIZED and not renewed:
                    renewed = True
                    self.renew()
                    continue
                if not fault.temporary:
                    raise
                if fault.overload:
                    self.pace.overloaded(since=begun)
                seconds = time.monotonic() - started
                if seconds + pause > self.deadline_seconds:
                    raise Spent(attempts, seconds, fault) from fault
            else:
                return result
            # Half of the pause is chance, so that those who failed together do not come back together.
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (no secret)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _in_turn(self, attempt: Callable[[], T]) -> T:
        self.pace.begin()
        try:
            begun = time.monotonic()
            result = attempt()
            self.pace.answered(time.monotonic() - begun)
            return result
        finally:
            self.pace.end()
