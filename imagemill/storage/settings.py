"""How object stores are reached: endpoint, retries, parallelism, and what every written object carries."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from imagemill.errors import CallerError

EMULATOR = "STORAGE_EMULATOR_HOST"
"""Google's own variable: a server on this machine that stands in for Google Cloud Storage, without credentials."""

GOOGLE_ENDPOINT = "https://storage.googleapis.com"

_URL = re.compile(r"https?://[^/\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreSettings:
    """What can be set about object stores; each but the emulator by a variable `IMAGEMILL_<FIELD>`, in capitals.

    Attributes:
        storage_deadline_seconds: Time for one request with all its retries; then it is a temporary fault.
        storage_pause_seconds: Pause before the first repetition; each is twice as long as the one before, up to 20 s.
        storage_attempt_seconds: Silence after which one attempt is given up.
        storage_parallel: Requests at once, at most; fewer where the store asks for patience.
        storage_cache_control: `Cache-Control` of every written object; "" for the store's own default, which lets
            caches serve a public object for an hour after it was replaced.
        gcs_endpoint: Base URL of Google Cloud Storage, such as a private endpoint.
        gcs_emulator: Tells that the endpoint is an emulator, which wants no credentials.
        gcs_user_project: Project that pays for requests to requester-pays buckets.
        gcs_impersonate: Service account to act as; several, separated by commas, for a chain that ends with it.
        gcs_anonymous: Send no credentials, for public buckets.
        gcs_key_file: JSON key of a service account, instead of Application Default Credentials.
    """

    storage_deadline_seconds: float = 300.0
    storage_pause_seconds: float = 0.25
    storage_attempt_seconds: float = 60.0
    storage_parallel: int = 32
    storage_cache_control: str = "no-cache"
    gcs_endpoint: str = GOOGLE_ENDPOINT
    gcs_emulator: bool = False
    gcs_user_project: str = ""
    gcs_impersonate: tuple[str, ...] = ()
    gcs_anonymous: bool = False
    gcs_key_file: str = ""

    def __post_init__(self) -> None:
        for name in (
            "storage_deadline_seconds",
            "storage_pause_seconds",
            "storage_attempt_seconds",
            "storage_parallel",
        ):
            if getattr(self, name) <= 0:
                raise CallerError(f"{_variable(name)} is {getattr(self, name)}; give a number above 0")
        if not _URL.match(self.gcs_endpoint):
            variable = EMULATOR if self.gcs_emulator else _variable("gcs_endpoint")
            raise CallerError(f"{variable} is {self.gcs_endpoint!r}; give a URL such as {GOOGLE_ENDPOINT}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ObjectStoreSettings:
        """Reads the variables.

        Raises:
            CallerError: One does not say what it should.
        """
        given = {
            field.name: _parse(_variable(field.name), environment[_variable(field.name)], _PARSERS[str(field.type)])
            for field in fields(cls)
            if environment.get(_variable(field.name))
        }
        settings = cls(**given)
        if emulator := environment.get(EMULATOR):
            url = emulator if "://" in emulator else f"http://{emulator}"
            return replace(settings, gcs_endpoint=url.rstrip("/"), gcs_emulator=True)
        return replace(settings, gcs_endpoint=settings.gcs_endpoint.rstrip("/"))


def _variable(name: str) -> str:
    return f"IMAGEMILL_{name.upper()}"


def _boolean(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


_PARSERS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "bool": _boolean,
    "str": str,
    "tuple[str, ...]": _names,
}


def _parse(variable: str, text: str, parser: Callable[[str], Any]) -> Any:
    try:
        return parser(text)
    except (ValueError, KeyError):
        wanted = {float: "a number", int: "a whole number", _boolean: "1 or 0"}[parser]
        raise CallerError(f"{variable} is {text!r}; give {wanted}") from None
