"""One bucket's connection: obstore moves the bytes, faults are repeated and then explained."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage.credentials import Anonymous, Identity, google_identity
from imagemill.storage.object_faults import Doing, Place, explain, request_fault
from imagemill.storage.retry import Pace, RequestFault, Retrier, Spent
from imagemill.storage.settings import GOOGLE_ENDPOINT, ObjectStoreSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSCredential, RetryConfig
    from obstore.store import ObjectStore as Backend

T = TypeVar("T")

OPEN_CLIENTS = 64
_CONNECT_SECONDS = 10.0

# Repeating is done here, where the deadline, the pace and the meaning of a second answer are known.
_ONCE: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


class _Ambient:
    """Whatever obstore finds for stores other than Google's: environment variables, instance roles."""

    account = "the credentials of the environment"
    token = renew = staticmethod(lambda: None)


class ObjectClient:
    """A bucket, who asks it, and how patiently. Thread-safe; shared by all stores in that bucket.

    Attributes:
        backend: obstore's handle.
        identity: Who asks.
        settings: How.
    """

    def __init__(self, scheme: str, bucket: str, settings: ObjectStoreSettings) -> None:
        self.scheme, self.bucket, self.settings = scheme, bucket, settings
        self.identity: Identity = google_identity(settings) if scheme == "gs" else _Ambient()
        self.pace = Pace(settings.storage_parallel)
        self._retrier = Retrier(
            settings.storage_deadline_seconds, settings.storage_pause_seconds, self.pace, self._renew
        )
        self.backend = self._connected()

    def run(self, doing: Doing, name: str, attempt: Callable[[], T]) -> T:
        """Returns what `attempt` returns, repeated while that may help.

        Args:
            doing: What is attempted, for messages.
            name: Full name of the object, or prefix of a listing.
            attempt: One request; what obstore raises is understood, and so is `RequestFault`.

        Raises:
            ImagemillError: Of the family that the last fault belongs to.
        """
        try:
            return self._retrier.run(lambda: self._once(attempt))
        except (RequestFault, Spent) as fault:
            payer = self.settings.gcs_user_project
            raise explain(fault, Place(self.scheme, self.bucket, name, self.identity.account, payer), doing) from fault

    def _once(self, attempt: Callable[[], T]) -> T:
        try:
            self.identity.token()  # here, because what goes wrong within obstore's callback loses its family
        except TemporaryFault as error:
            raise RequestFault(None, str(error)) from error
        try:
            return attempt()
        except (exceptions.BaseError, FileNotFoundError) as error:
            raise request_fault(error) from error

    def _renew(self) -> None:
        self.identity.renew()
        self.backend = self._connected()  # obstore keeps a token until it expires, refused or not

    def _connected(self) -> Backend:
        try:
            return self._open()
        except exceptions.BaseError as error:
            detail = str(error).split("\n", 1)[0]
            raise CallerError(
                f"cannot open {self.scheme}://{self.bucket}: {detail}; set it in the environment"
            ) from None

    def _open(self) -> Backend:
        options = self._client_options()
        if self.scheme == "s3":
            return S3Store(self.bucket, client_options=options, retry_config=_ONCE)
        if self.scheme == "az":
            return AzureStore(self.bucket, client_options=options, retry_config=_ONCE)
        given: dict[str, Any] = {"client_options": options, "retry_config": _ONCE}
        if self.settings.gcs_endpoint != GOOGLE_ENDPOINT:
            given["base_url"] = self.settings.gcs_endpoint
        if self.settings.gcs_emulator:
            given["bearer_token"] = "none"  # noqa: S105  (no secret; without any, obstore looks for a metadata server)
        elif isinstance(self.identity, Anonymous):
            given["skip_signature"] = True
        else:
            given["credential_provider"] = self._credential
        return GCSStore(self.bucket, **given)

    def _credential(self) -> GCSCredential:
        token = self.identity.token()
        if token is None:
            raise RuntimeError(f"{self.identity.account} has no token")
        return {"token": token.text, "expires_at": token.expires_at or datetime.now(UTC) + timedelta(hours=1)}

    def _client_options(self) -> ClientConfig:
        settings = self.settings
        deadline = settings.storage_deadline_seconds
        options: ClientConfig = {
            "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, deadline)),
            "read_timeout": timedelta(seconds=min(settings.storage_attempt_seconds, deadline)),
            "timeout": timedelta(seconds=deadline),
            # For other services only an endpoint of the environment begins so.
            "allow_http": self.scheme != "gs" or settings.gcs_endpoint.startswith("http://"),
        }
        if self.scheme == "gs":
            # Whoever does not take gzip gets an object of that encoding decompressed, without its length and with the
            # checksum of other bytes (https://cloud.google.com/storage/docs/transcoding).
            payer = {"x-goog-user-project": settings.gcs_user_project} if settings.gcs_user_project else {}
            options["default_headers"] = {"Accept-Encoding": "gzip"} | payer
        return options


def open_client(scheme: str, bucket: str, settings: ObjectStoreSettings) -> ObjectClient:
    """Returns the connection to a bucket; the same one for the same settings, as connecting is slow."""
    # A forked child must not use its parent's connections.
    return _client(scheme, bucket, settings, os.getpid())


@lru_cache(OPEN_CLIENTS)
def _client(scheme: str, bucket: str, settings: ObjectStoreSettings, _process: int) -> ObjectClient:
    return ObjectClient(scheme, bucket, settings)
