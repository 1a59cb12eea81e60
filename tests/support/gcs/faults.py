"""What a storage service does to its clients on a bad day, by rule."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Operation = Literal["read", "list", "stat", "upload", "copy", "delete", "bucket", "other"]

Kind = Literal[
    "status",  # answered with `status` and nothing done
    "reset",  # the connection breaks before an answer, and nothing is done
    "lost answer",  # it is done, and then the connection breaks
    "reset in body",  # the answer breaks off in the middle, with a reset
    "short body",  # the answer ends early, as if it were whole
    "latency",  # the answer comes after `seconds`
    "slow body",  # the answer's body trickles for `seconds`
    "unfinished",  # a copy on the server is answered as one that needs another request
    "corrupt",  # a byte changes on its way, in the direction in which the content travels
]


_REMEMBERED = 100_000


class Request(NamedTuple):
    """What was asked.

    Attributes:
        operation: What for.
        name: The object's name; a listing's prefix.
        part: The range of bytes that was wanted, the token of a listing's page or of a copy that goes on; "" for the
            whole or the first.
    """

    operation: Operation
    name: str
    part: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of fault, and when it strikes.

    Attributes:
        kind: What happens.
        operation: To which operations; "" for all.
        name: Regular expression, searched in the object's name; a listing's is its prefix.
        token: Regular expression, searched in the request's Authorization.
        status: The status of kind "status".
        reason: The reason in that answer's body, as Google words it; some faults differ by it alone.
        message: The sentence beside it; by default one that tells the reason.
        seconds: The delay of kinds "latency" and "slow body".
        skip: Matching requests to let pass first.
        times: Matching requests to strike afterwards; -1 for all.
    """

    kind: Kind
    operation: Operation | Literal[""] = ""
    name: str = ""
    token: str = ""
    status: int = 503
    reason: str = ""
    message: str = ""
    seconds: float = 0.0
    skip: int = 0
    times: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def covers(self, operation: Operation, name: str, token: str) -> bool:
        aimed = self.operation in ("", operation)
        return aimed and re.search(self.name, name) is not None and re.search(self.token, token) is not None


class FaultPlan:
    """The rules in force, and what was asked of the service since they were set."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._met: list[int] = []
        self.requests: Counter[Operation] = Counter()
        self.latest: deque[Request] = deque(maxlen=_REMEMBERED)
        self.struck = 0

    def set(self, rules: list[Mapping[str, Any]]) -> None:
        """Replaces all rules and counts anew."""
        self._rules = [Rule(**rule) for rule in rules]
        self._met = [0] * len(self._rules)
        self.requests.clear()
        self.latest.clear()
        self.struck = 0

    def strike(self, request: Request, token: str) -> Rule | None:
        """Counts a request and returns the rule that strikes it: the first that has one left for it."""
        self.requests[request.operation] += 1
        self.latest.append(request)
        for number, rule in enumerate(self._rules):
            if not rule.covers(request.operation, request.name, token):
                continue
            self._met[number] += 1
            turn = self._met[number] - rule.skip
            if turn > 0 and (rule.times < 0 or turn <= rule.times):
                self.struck += 1
                return rule
        return None
