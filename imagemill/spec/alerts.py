"""Who hears of what: the part `alerts` of a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from imagemill.spec.contradictions import Contradiction, refuse
from imagemill.spec.part import SpecPart

AlertEvent = Literal["failure", "rejected", "recovery", "stale", "approval", "publication"]

_ALERT_EMAIL = "IMAGEMILL_ALERT_EMAIL"


def default_people(environment: Mapping[str, str]) -> list[str]:
    """Returns the addresses in `IMAGEMILL_ALERT_EMAIL`, which are separated by commas."""
    return [address.strip() for address in environment.get(_ALERT_EMAIL, "").split(",") if address.strip()]


def _address(address: str) -> str:
    if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", address):
        refuse(
            [Contradiction((), f"`{address}` is no e-mail address.", "Write one address per item: name@example.org.")]
        )
    return address


class Alerts(SpecPart):
    """Who hears of what. Every channel that is named gets every event that is chosen, once."""

    email: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    """Addresses that get a mail; where none is given, those of `IMAGEMILL_ALERT_EMAIL`."""
    smtp_conn_id: str = "smtp_default"
    """Airflow connection that sends the mail."""
    slack_conn_id: str | None = None
    """Airflow connection that holds the URL of a Slack incoming webhook."""
    webhook_conn_id: str | None = None
    """Airflow connection that holds any other URL, to which the event is posted as JSON."""
    events: tuple[AlertEvent, ...] = ("failure", "rejected", "recovery", "stale", "approval")
    """What is told: a run that failed when retries were spent (`failure`), a candidate that validation or a person held
    back (`rejected`), the first good run after either (`recovery`), a missed `stale_after_days` (`stale`), a version
    that waits for a person (`approval`), and each new version (`publication`)."""
    stale_after_days: float | None = Field(None, gt=0, le=3650)
    """The freshness target: without a new version for so long, an alert is raised. Without a number, age is nobody's
    concern."""
