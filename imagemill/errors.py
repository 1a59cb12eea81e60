"""The three families of errors. The CLI and Airflow react to the family, never to message text."""

from __future__ import annotations

import importlib
import json
import re
from typing import ClassVar

FAILURE = "imagemill-failure: "
"""Begins the line by which a job tells its launcher why it failed; JSON follows, with `family` and `message`."""

# The last line of a formatted traceback; Beam adds in which stage it happened.
_RAISED = re.compile(
    r"^(?:RuntimeError: )?(imagemill(?:\.\w+)+)\.([A-Z]\w*): (.*?)(?: \[while running .*)?$", re.MULTILINE
)

_ANOTHER = "During handling of the above exception, another exception occurred:"
"""What Python writes before an error that is not explained by the one above."""


class ImagemillError(Exception):
    """A failure whose message a person can act on: it names the value and the way out.

    Attributes:
        exit_code: What the `imagemill` command exits with when this error ends it.
        family: Its family, as JSON names it.
    """

    exit_code: ClassVar[int] = 1
    family: ClassVar[str] = "data"


class CallerError(ImagemillError):
    """The caller's mistake: a bad spec, index, location or option. Repeating it changes nothing."""

    exit_code = 2
    family = "caller"


class TemporaryFault(ImagemillError):
    """A fault that time may heal: the network, a 5xx, a preempted worker. Worth a retry."""

    exit_code = 3
    family = "temporary"


class UnusableData(ImagemillError):
    """Data that must not be published: too many rejects, a failed check, a corrupt file. Never retried."""

    exit_code = 1
    family = "data"


def family_of(error: BaseException | None) -> str:
    """Returns an error's family, as JSON names it; whatever is not ours is a "bug"."""
    return error.family if isinstance(error, ImagemillError) else "bug"


def failure_line(error: BaseException) -> str:
    """Returns the line that tells another process why this one failed."""
    message = str(error) if isinstance(error, ImagemillError) else f"{type(error).__name__}: {error}"
    return FAILURE + json.dumps({"family": family_of(error), "message": message})


def read_failure_line(line: str) -> ImagemillError | None:
    """Returns the error that a line tells of; None where it is another line, or tells of a bug."""
    if not line.startswith(FAILURE):
        return None
    told = json.loads(line.removeprefix(FAILURE))
    families = {family.family: family for family in (CallerError, TemporaryFault, UnusableData)}
    family = families.get(told["family"])
    return family(told["message"]) if family else None


def error_in_text(text: str) -> ImagemillError | None:
    """Returns the last error of ours that a text with tracebacks tells of, or None: then it is not ours."""
    for raised in reversed(list(_RAISED.finditer(text))):
        module, name, message = raised.groups()
        if family := family_class(_named(module, name)):
            explains = not text[raised.end() :].lstrip().startswith(_ANOTHER)
            return family(message) if explains else None
    return None


def family_class(kind: object) -> type[ImagemillError] | None:
    """Returns which of the three families a class belongs to; its own constructor may want more than a message."""
    if not isinstance(kind, type) or not issubclass(kind, ImagemillError):
        return None
    return next(base for base in reversed(kind.__mro__) if ImagemillError in base.__bases__)


def _named(module: str, name: str) -> object:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
