"""Reads `rejects.jsonl` in one pass and flat memory."""

from __future__ import annotations

from imagemill.quality.evidence import EXAMPLES_KEPT, RejectFacts, printable
from imagemill.quality.report import RejectExample
from imagemill.storage.object_file import open_object
from imagemill.storage.store import MissingObject, Store
from imagemill.version.files import REJECTS, parse_reject


def read_rejects(store: Store) -> RejectFacts | None:
    """Returns what the version's rejects are, None where the file is gone."""
    facts = RejectFacts()
    try:
        with open_object(store, REJECTS) as file:
            for line in file:
                _read_line(line, facts)
    except MissingObject:
        return None
    return facts


def _read_line(line: bytes, facts: RejectFacts) -> None:
    facts.lines += 1
    reject = parse_reject(line)
    if reject is None:
        facts.malformed.add(REJECTS, f"line {facts.lines} is no reject")
        return
    facts.reasons[reject.reason.value] += 1
    facts.strata[reject.split, reject.label] += 1
    examples = facts.examples.setdefault(reject.reason.value, [])
    if len(examples) < EXAMPLES_KEPT:
        key, label, detail = map(printable, (reject.key or reject.row, reject.label, reject.detail))
        examples.append(RejectExample(key=key, label=label, detail=detail))
