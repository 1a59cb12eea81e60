"""Cron expressions and Airflow's presets: enough of a check that a typo is found before the scheduler meets it."""

from __future__ import annotations

import re
from typing import NamedTuple

PRESETS = ("@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _Field(NamedTuple):
    title: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    special: str = r"(?!)"


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31, special=r"l|\?"),
    _Field("month", 1, 12, words=_MONTHS),
    _Field("day of the week", 0, 7, words=_DAYS, special=r"\?|l[0-7]|[0-7]#[1-5]"),
)
_ITEM = re.compile(r"(?:\*|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]+))?")


def cron_problem(expression: str) -> str | None:
    """Returns what is wrong with a schedule, or None.

    Accepts five fields (minute, hour, day of the month, month, day of the week) of values, ranges, steps and lists,
    or one of `PRESETS`. Whether a date such as 31 February ever comes is the scheduler's to find out.
    """
    if expression.startswith("@"):
        return None if expression in PRESETS else f"`{expression}` is none of the presets {', '.join(PRESETS)}."
    parts = expression.lower().split()
    if len(parts) != len(_FIELDS):
        titles = ", ".join(field.title for field in _FIELDS)
        return f"`{expression}` has {len(parts)} fields; cron has five: {titles}."
    for part, field in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            if not _fits(item, field):
                return f"`{item}` is no {field.title} ({field.low}-{field.high})."
    return None


def _fits(item: str, field: _Field) -> bool:
    if re.fullmatch(field.special, item):
        return True
    match = _ITEM.fullmatch(item)
    if match is None:
        return False
    first, last, step = match.groups()
    values = [_value(end, field) for end in (first, last) if end is not None]
    in_bounds = all(field.low <= value <= field.high for value in values)
    return in_bounds and values == sorted(values) and (step is None or int(step) > 0)


def _value(text: str, field: _Field) -> int:
    """Returns the number that a field's item stands for, or -1."""
    if text in field.words:
        return field.words.index(text) + field.low
    return int(text) if text.isascii() and text.isdigit() else -1
