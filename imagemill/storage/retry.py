"""Repeat what time may heal: exponential backoff with jitter up to a deadline, and fewer requests when asked for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

T = TypeVar("T")

_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_OVERLOAD = frozenset({408, 429, 503})

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 20.0

_RECOVERY = 50
"""Answers after which the pace allows one more request at once."""


class RequestFault(Exception):
    """One request to an object store failed.

    Attributes:
        status: The HTTP status; None where there was no whole answer.
        detail: What the service or the connection said.
    """

    def __init__(self, status: int | None, detail: str) -> None:
        super().__init__(f"{status or 'no answer'}: {detail}")
        self.status = status
        self.detail = detail

    @property
    def temporary(self) -> bool:
        return self.status is None or self.status in _TEMPORARY

    @property
    def overload(self) -> bool:
        """Whether fewer requests at once would have helped."""
        return self.status is None or self.status in _OVERLOAD

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
    """How many requests run at once: at most `limit`, half as many after an overload, slowly more afterwards."""

    def __init__(self, limit: int) -> None:
        self._most = limit
        self._allowed = float(limit)
        self._running = 0
        self._halved_at = 0.0
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until another request may run."""
        with self._changed:
            self._changed.wait_for(lambda: self._running < self.allowed)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def faster(self) -> None:
        """Hears that a request was answered."""
        if self._allowed < self._most:
            with self._changed:
                self._allowed = min(self._most, self._allowed + 1 / _RECOVERY)
                self._changed.notify()

    def slower(self, *, since: float) -> None:
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
        pace: Shared by all requests to one store.
        renew: Makes new credentials; called once for each request that was refused for old ones.
    """

    deadline_seconds: float
    pace: Pace
    renew: Callable[[], None]

    def run(self, attempt: Callable[[], T]) -> T:
        """Returns what `attempt` returns.

        Raises:
            RequestFault: It failed in a way that repeating does not change.
            Spent: It failed until the deadline.
        """
        started = time.monotonic()
        pause, attempts, renewed = FIRST_PAUSE_SECONDS, 0, False
        while True:
            attempts += 1
            begun = time.monotonic()
            try:
                with self.pace.turn():
                    result = attempt()
            except RequestFault as fault:
                if fault.status == HTTPStatus.UNAUTHORIZED and not renewed:
                    renewed = True
                    self.renew()
                    continue
                if not fault.temporary:
                    raise
                if fault.overload:
                    self.pace.slower(since=begun)
                seconds = time.monotonic() - started
                if seconds + pause > self.deadline_seconds:
                    raise Spent(attempts, seconds, fault) from fault
            else:
                self.pace.faster()
                return result
            # Half of the pause is chance, so that those who failed together do not come back together.
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (no secret)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
