"""Who asks: Google credentials from wherever they are configured.

Order: a key file, Application Default Credentials; then the impersonation, if one is set. An emulator and public
buckets are asked anonymously.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage.retry import RequestFault
from imagemill.storage.settings import ObjectStoreSettings

if TYPE_CHECKING:
    from google.auth.credentials import Credentials as GoogleAuthCredentials
    from google.auth.transport.requests import Request

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_FRESH = timedelta(minutes=3, seconds=45)
"""As google-auth has it: metadata servers hand the same token out until 4 minutes before it expires, so that asking
earlier brings no other one."""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token; `expires_at` is None where it does not expire."""

    text: str
    expires_at: datetime | None = None


class Identity(Protocol):
    """Who asks an object store."""

    @property
    def account(self) -> str:
        """Returns its name, for messages."""
        ...

    def token(self) -> Token | None:
        """Returns a token that is good for some minutes more; None for an anonymous caller."""
        ...

    def renew(self) -> None:
        """Forgets the token: the service has refused it."""
        ...


class Anonymous:
    """Nobody in particular."""

    account = "an anonymous caller"

    def token(self) -> Token | None:
        return None

    def renew(self) -> None:
        pass


class GoogleIdentity:
    """Google credentials of any kind, refreshed when they are about to expire."""

    def __init__(self, credentials: GoogleAuthCredentials) -> None:
        self._credentials = credentials
        self._request, self._out_of_reach = _sign_in_request()
        self._lock = threading.Lock()
        self._token: Token | None = None

    @property
    def account(self) -> str:
        for attribute in ("service_account_email", "signer_email", "account"):
            if name := getattr(self._credentials, attribute, ""):
                return str(name)
        return "your Application Default Credentials"

    def token(self) -> Token:
        with self._lock:
            if self._token is None or _is_stale(self._token):
                self._token = self._refreshed()
            return self._token

    def renew(self) -> None:
        with self._lock:
            self._token = None

    def _refreshed(self) -> Token:
        from google.auth.exceptions import GoogleAuthError, TransportError

        try:
            self._credentials.refresh(self._request)
        except GoogleAuthError as error:
            if error.retryable or self._out_of_reach() or isinstance(error, TransportError):
                raise TemporaryFault(f"cannot reach Google to sign in as {self.account}: {error}; try again") from error
            raise CallerError(
                f"Google refuses the credentials of {self.account}: {error}; sign in anew with "
                "`gcloud auth application-default login`, or make a new key"
            ) from error
        expiry = self._credentials.expiry
        return Token(str(self._credentials.token), expiry.replace(tzinfo=UTC) if expiry else None)


def _sign_in_request() -> tuple[Request, Callable[[], bool]]:
    """Returns how google-auth asks, and what tells whether its latest request met a fault that may pass.

    google-auth itself does not tell: it words a metadata server that does not answer, and an overloaded IAM service,
    as a refusal. Its retries are cut short, as those of every request are counted in one place.
    """
    from google.auth.exceptions import TransportError
    from google.auth.transport.requests import Request

    class SignIn(Request):  # type: ignore[misc]
        out_of_reach = False

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            self.out_of_reach = True
            answer = super().__call__(*arguments, **options)
            self.out_of_reach = (fault := RequestFault(answer.status, "")).temporary
            if self.out_of_reach:
                raise TransportError(str(fault))
            return answer

    request = SignIn()
    return request, lambda: request.out_of_reach


def _is_stale(token: Token) -> bool:
    return token.expires_at is not None and datetime.now(UTC) > token.expires_at - _FRESH


def google_identity(settings: ObjectStoreSettings) -> Identity:
    """Returns who asks Google Cloud Storage.

    Raises:
        CallerError: There are no credentials, or they cannot be read.
    """
    if settings.gcs_emulator or settings.gcs_anonymous:
        return Anonymous()
    try:
        credentials = _configured(settings)
        for account in _chain(settings):
            credentials = account(credentials)
        return GoogleIdentity(credentials)
    except ModuleNotFoundError as error:
        raise CallerError(f"gs:// needs Google's sign-in ({error.name}); install imagemill[gcp]") from error


def _configured(settings: ObjectStoreSettings) -> GoogleAuthCredentials:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        if settings.gcs_key_file:
            credentials, _ = google.auth.load_credentials_from_file(settings.gcs_key_file, scopes=_scopes(settings))
        else:
            credentials, _ = google.auth.default(scopes=_scopes(settings))
    except (DefaultCredentialsError, OSError, ValueError) as error:
        source, detail = settings.gcs_key_file or "this machine", str(error).rstrip(".")
        raise CallerError(
            f"no Google credentials from {source}: {detail}; run `gcloud auth application-default login`, name a key "
            "by GOOGLE_APPLICATION_CREDENTIALS, or set IMAGEMILL_GCS_ANONYMOUS=1 for public buckets"
        ) from error
    return credentials


def _scopes(settings: ObjectStoreSettings) -> list[str]:
    return [_CLOUD_SCOPE if settings.gcs_impersonate else SCOPE]


def _chain(settings: ObjectStoreSettings) -> list[Callable[[GoogleAuthCredentials], GoogleAuthCredentials]]:
    """Returns what turns credentials into those of the impersonated account, through the accounts before it."""
    if not settings.gcs_impersonate:
        return []
    from google.auth import impersonated_credentials

    *delegates, target = settings.gcs_impersonate
    return [
        lambda source: impersonated_credentials.Credentials(
            source_credentials=source, target_principal=target, target_scopes=[SCOPE], delegates=delegates
        )
    ]
