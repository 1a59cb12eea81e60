"""Tasks sign in as Airflow's connection says: as the provider's own hook does, and so do the processes they start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.airflow_home import ROOT

from imagemill_airflow.google_connection import (  # isort: skip  (after its settings)
    CONNECTION_VARIABLE,
    google_connection,
    impersonation,
)
from imagemill.errors import CallerError
from imagemill.storage import open_store
from imagemill.storage.credentials import google_identity
from imagemill.storage.settings import ObjectStoreSettings
from tests.support.gcs.server import client_environment, emulator
from tests.support.google_sign_in import ACCOUNT, token_server

VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST")


@pytest.fixture(scope="module")
def server():
    with token_server() as running:
        yield running


@pytest.fixture
def key_file(tmp_path, server):
    path = tmp_path / "key.json"
    path.write_text(json.dumps(server.key()))
    return str(path)


@pytest.fixture
def connect(monkeypatch):
    """Makes the connection, as `airflow connections add` would."""
    for name in [*VARIABLES, *(name for name in os.environ if name.startswith("IMAGEMILL_"))]:
        monkeypatch.delenv(name, raising=False)

    def make(*, conn_id="google_cloud_default", **extra):
        content = json.dumps({"conn_type": "google_cloud_platform", "extra": extra})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", content)

    return make


def identity():
    return google_identity(ObjectStoreSettings.from_environment())


def hook(conn_id="google_cloud_default"):
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

    return GoogleBaseHook(gcp_conn_id=conn_id)


def escaped(key):
    return json.dumps(key | {"private_key": key["private_key"].replace("\n", "\\n")})


@pytest.mark.parametrize(
    "field",
    ["key_path", "keyfile_dict", "extra__google_cloud_platform__keyfile_dict", "escaped", "credential_config_file"],
)
def test_every_kind_of_key_signs_in_as_the_providers_hook_does(connect, key_file, server, field):
    value = {"key_path": key_file, "escaped": escaped(server.key())}.get(field, json.dumps(server.key()))
    connect(**{"keyfile_dict" if field == "escaped" else field: value})
    with google_connection():
        found = identity()
        assert found.account == ACCOUNT == hook().get_credentials().service_account_email
        assert found.token().text.startswith("token-")
        # Beam and every other library of Google's find it too, here and in processes of their own.
        script = "import google.auth; print(google.auth.default()[0].service_account_email)"
        assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == ACCOUNT


def test_a_credential_file_may_be_named(connect, key_file):
    connect(credential_config_file=key_file)
    with google_connection():
        assert identity().account == ACCOUNT


@pytest.mark.parametrize("chain", ["first@x,second@x,target@x", ["first@x", "second@x", "target@x"]])
def test_the_impersonation_chain_is_that_of_the_hook(connect, key_file, chain):
    connect(key_path=key_file, impersonation_chain=chain)
    theirs = hook().get_credentials()
    with google_connection():
        ours = identity()
        assert ours.account == theirs.service_account_email == "target@x"
        assert ours._credentials._delegates == theirs._delegates == ["first@x", "second@x"]
        assert impersonation() == {"impersonate_service_account": "first@x,second@x,target@x"}
    assert impersonation() == {}


def test_project_and_payer_are_taken(connect, key_file):
    import google.auth

    connect(key_path=key_file, project="ours", quota_project_id="payer")
    with google_connection():
        assert google.auth.default()[1] == "ours"
        assert ObjectStoreSettings.from_environment().gcs_user_project == "payer"


def test_an_anonymous_connection_sends_no_credentials(connect, key_file, monkeypatch):
    monkeypatch.setenv("IMAGEMILL_GCS_KEY_FILE", key_file)
    connect(is_anonymous=True)
    with google_connection():
        assert identity().token() is None


def test_the_connection_comes_before_what_the_worker_has(connect, key_file, monkeypatch):
    monkeypatch.setenv("IMAGEMILL_GCS_ANONYMOUS", "1")
    monkeypatch.setenv("IMAGEMILL_GCS_KEY_FILE", "/not/there.json")
    connect(key_path=key_file)
    with google_connection():
        assert identity().account == ACCOUNT


@pytest.mark.parametrize("ending", ["good", "bad"])
def test_nothing_is_left_behind(connect, server, ending):
    connect(keyfile_dict=json.dumps(server.key()), project="ours")
    before = dict(os.environ)
    try:
        with google_connection():
            key = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
            assert key.stat().st_mode & 0o077 == 0
            if ending == "bad":
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert not key.exists()
    assert os.environ == before


@pytest.mark.parametrize("extra", [None, {}])
def test_without_a_connection_the_workers_own_account_is_used(connect, extra):
    if extra is not None:
        connect(**extra)
    before = dict(os.environ)
    with google_connection():
        assert os.environ == before


def test_another_connection_can_be_named(connect, key_file, monkeypatch):
    connect(conn_id="theirs", key_path="/not/there.json")
    connect(conn_id="ours", key_path=key_file)
    monkeypatch.setenv(CONNECTION_VARIABLE, "ours")
    with google_connection():
        assert identity().account == ACCOUNT
    monkeypatch.setenv(CONNECTION_VARIABLE, "")
    with google_connection():
        assert "IMAGEMILL_GCS_KEY_FILE" not in os.environ


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"keyfile_dict": '{"private_key": "se'}, "keyfile_dict of the Airflow connection .* is not a JSON object"),
        ({"key_path": "/k.json", "keyfile_dict": "{}"}, "has key_path and keyfile_dict; keep one"),
        ({"key_secret_name": "secret"}, "signs in by key_secret_name.*; give it key_path"),
    ],
)
def test_a_connection_that_cannot_sign_in_is_the_callers_mistake(connect, extra, says):
    connect(**extra)
    with pytest.raises(CallerError, match=says) as error, google_connection():
        pass
    assert "se\\" not in str(error.value)


def test_a_named_connection_must_be_there(connect, monkeypatch):
    monkeypatch.setenv(CONNECTION_VARIABLE, "mispelt")
    with (
        pytest.raises(CallerError, match=f"no Airflow connection 'mispelt'; .*{CONNECTION_VARIABLE}"),
        google_connection(),
    ):
        pass


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=["mill"]) as running:
        yield running


class TestEmulator:
    """What else a refresh's tasks and jobs speak to a bucket with honours STORAGE_EMULATOR_HOST."""

    @pytest.fixture(autouse=True)
    def exported(self, gcs, connect, monkeypatch):
        connect(is_anonymous=True, project="demo")
        for name, value in client_environment(gcs.url).items():
            monkeypatch.setenv(name, value)

    def test_airflows_own_hook_and_imagemill_see_the_same_objects(self, tmp_path):
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        with google_connection():
            open_store("gs://mill/ours").write("x", b"1")
            theirs = GCSHook()
            assert theirs.download("mill", "ours/x") == b"1"
            theirs.upload("mill", "theirs/y", data=b"2")
            assert open_store("gs://mill/theirs").read("y") == b"2"

    def test_beam_stages_there(self, tmp_path):
        package = tmp_path / "package.whl"
        package.write_bytes(b"wheel")
        with google_connection():
            # Beam keeps its credentials for the life of a process.
            done = subprocess.run(
                [sys.executable, "-c", STAGE, str(package)], cwd=ROOT, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stderr
        assert open_store("gs://mill/staged").read("package.whl") == b"wheel"


STAGE = """
import sys
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
options = PipelineOptions(["--project=demo", "--region=r", "--no_auth", "--temp_location=gs://mill/tmp"])
client = DataflowApplicationClient(options)
client.stage_file_with_retry("gs://mill/staged", "package.whl", open(sys.argv[1], "rb"))
"""
