"""Who asks Google: real google-auth, a key made for the test, and a token server on this machine."""

import datetime
import json
from contextlib import contextmanager, suppress
from dataclasses import replace

import google.auth.compute_engine
import google.auth.credentials
import google.auth.iam
import pytest
from google.auth.compute_engine import _metadata

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import open_store
from imagemill.storage.credentials import Anonymous, GoogleIdentity, google_identity
from imagemill.storage.settings import ObjectStoreSettings
from tests.support.gcs.faults import Rule
from tests.support.google_sign_in import ACCOUNT, token_server


@pytest.fixture(name="token_server")
def running_token_server():
    with token_server() as server:
        yield server


@pytest.fixture
def key_file(tmp_path, token_server):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(token_server.key()))
    return str(path)


@contextmanager
def no_other_credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    yield


def test_a_key_file_signs_in(key_file):
    identity = google_identity(ObjectStoreSettings(gcs_key_file=key_file))
    assert identity.account == ACCOUNT
    assert identity.token().text == "token-1"
    assert identity.token().text == "token-1"
    identity.renew()
    assert identity.token().text == "token-2"


def test_application_default_credentials_are_found(key_file, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file)
    assert google_identity(ObjectStoreSettings()).account == ACCOUNT


def test_an_expired_token_is_renewed_by_the_store(key_file, token_server):
    settings = ObjectStoreSettings(gcs_key_file=key_file, gcs_endpoint=token_server.url, gcs_user_project="payer")
    assert list(open_store("gs://renewed", settings=settings).list()) == []
    assert [request["Authorization"] for request in token_server.seen] == ["Bearer token-1", "Bearer token-2"]
    assert token_server.seen[0]["x-goog-user-project"] == "payer"


def test_the_project_that_pays_is_named_where_bytes_travel_too(key_file, token_server):
    settings = ObjectStoreSettings(gcs_key_file=key_file, gcs_endpoint=token_server.url, gcs_user_project="payer")
    with suppress(TemporaryFault):  # what this server answers is no object
        open_store("gs://paid", settings=replace(settings, storage_deadline_seconds=0.1)).read("x")
    assert token_server.seen[0]["x-goog-user-project"] == "payer"


def test_an_account_that_google_refuses_is_the_callers_mistake(key_file, token_server):
    token_server.status = 400
    identity = google_identity(ObjectStoreSettings(gcs_key_file=key_file))
    with pytest.raises(CallerError, match=f"refuses the credentials of {ACCOUNT}.*account not found"):
        identity.token()


def test_a_sign_in_that_is_out_of_reach_is_a_temporary_fault(key_file, token_server):
    token_server.server.socket.close()
    settings = ObjectStoreSettings(gcs_key_file=key_file, storage_deadline_seconds=0.1, storage_pause_seconds=0.06)
    with pytest.raises(TemporaryFault, match="cannot reach Google to sign in"):
        list(open_store("gs://out-of-reach", settings=settings).list())


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_sign_in_that_is_overloaded_is_a_temporary_fault(key_file, token_server, status):
    token_server.status = status
    identity = google_identity(ObjectStoreSettings(gcs_key_file=key_file))
    with pytest.raises(TemporaryFault, match="cannot reach Google to sign in"):
        identity.token()
    token_server.status = 200
    assert identity.token().text == f"token-{token_server.tokens}"


@pytest.fixture
def metadata_server(token_server, monkeypatch):
    """The token server as the one that virtual machines ask; it knows no account, and google-auth does not wait."""
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", token_server.url.removeprefix("http://"))
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    return token_server


def test_a_metadata_server_out_of_reach_is_a_temporary_fault(metadata_server):
    metadata_server.server.socket.close()
    with pytest.raises(TemporaryFault, match="cannot reach Google to sign in"):
        GoogleIdentity(google.auth.compute_engine.Credentials()).token()


def test_a_machine_without_an_account_is_the_callers_mistake(metadata_server):
    with pytest.raises(CallerError, match="refuses the credentials"):
        GoogleIdentity(google.auth.compute_engine.Credentials()).token()


def test_without_credentials_the_way_out_is_named(monkeypatch, tmp_path):
    with no_other_credentials(monkeypatch, tmp_path), pytest.raises(CallerError, match="IMAGEMILL_GCS_ANONYMOUS=1"):
        open_store("gs://nobody", settings=ObjectStoreSettings())


@pytest.mark.parametrize("content", ["{", '{"type": "service_account"}', None])
def test_an_unusable_key_is_the_callers_mistake(tmp_path, content):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CallerError, match=r"key\.json"):
        google_identity(ObjectStoreSettings(gcs_key_file=str(path)))


def test_public_buckets_and_emulators_are_asked_anonymously():
    for settings in (ObjectStoreSettings(gcs_anonymous=True), ObjectStoreSettings(gcs_emulator=True)):
        assert isinstance(google_identity(settings), Anonymous)


def test_impersonation_ends_with_the_last_account_of_the_chain(key_file):
    chain = ("first@x", "second@x", "target@x")
    identity = google_identity(ObjectStoreSettings(gcs_key_file=key_file, gcs_impersonate=chain))
    assert identity.account == "target@x"
    assert identity._credentials._delegates == ["first@x", "second@x"]


@pytest.fixture
def impersonating(key_file, token_server, monkeypatch):
    monkeypatch.setattr(google.auth.iam, "_IAM_ENDPOINT", f"{token_server.url}/{{}}:generateAccessToken")
    return google_identity(ObjectStoreSettings(gcs_key_file=key_file, gcs_impersonate=("target@x",)))


def test_impersonation_signs_in_for_iam_and_gets_a_token_for_storage_alone(impersonating, token_server):
    assert impersonating.token().text == "token-2"
    scopes = "https://www.googleapis.com/auth/"
    assert token_server.scopes == [
        ("/token", f"{scopes}iam"),
        ("/target@x:generateAccessToken", f"{scopes}devstorage.read_write"),
    ]


@pytest.mark.parametrize(("status", "family"), [(503, TemporaryFault), (429, TemporaryFault), (403, CallerError)])
def test_impersonation_that_fails_is_of_the_right_family(impersonating, token_server, status, family):
    token_server.iam_status = status
    with pytest.raises(family):
        impersonating.token()


class Fixed(google.auth.credentials.Credentials):
    """Credentials that somebody else brings."""

    def __init__(self, text, expires_in=datetime.timedelta(hours=1)):
        super().__init__()
        self.text, self.expires_in, self.refreshed = text, expires_in, 0

    def refresh(self, _request):
        self.refreshed += 1
        self.token = self.text
        self.expiry = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + self.expires_in


@pytest.mark.parametrize(
    ("minutes", "refreshed"),
    [pytest.param(2, 2, id="about to expire"), pytest.param(3.9, 1, id="a metadata server would not give another")],
)
def test_a_token_is_renewed_before_it_expires_and_not_in_vain(minutes, refreshed):
    credentials = Fixed("x", expires_in=datetime.timedelta(minutes=minutes))
    identity = GoogleIdentity(credentials)
    identity.token()
    identity.token()
    assert credentials.refreshed == refreshed


def test_bytes_travel_with_the_same_credentials(service, key_file, token_server):
    store = service.store("x", gcs_emulator=False, gcs_key_file=key_file)
    store.write("a", b"content")
    assert token_server.tokens == 1
    service.gcs.strike(Rule(kind="status", status=401, operation="read", token="token-1$", times=-1))
    assert store.read("a") == b"content"
    assert token_server.tokens == 2
    service.gcs.strike(Rule(kind="status", status=403, times=-1))
    with pytest.raises(CallerError, match=f"as {ACCOUNT}: it lacks the permission"):
        store.read("a")
