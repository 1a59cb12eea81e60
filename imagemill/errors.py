"""The three families of errors. The CLI and Airflow react to the family, never to message text."""

from __future__ import annotations

from typing import ClassVar


class ImagemillError(Exception):
    """A failure whose message a person can act on: it names the value and the way out.

    Attributes:
        exit_code: What the `imagemill` command exits with when this error ends it.
    """

    exit_code: ClassVar[int] = 1


class CallerError(ImagemillError):
    """The caller's mistake: a bad spec, index, location or option. Repeating it changes nothing."""

    exit_code = 2


class TemporaryFault(ImagemillError):
    """A fault that time may heal: the network, a 5xx, a preempted worker. Worth a retry."""

    exit_code = 3


class UnusableData(ImagemillError):
    """Data that must not be published: too many rejects, a failed check, a corrupt file. Never retried."""

    exit_code = 1
