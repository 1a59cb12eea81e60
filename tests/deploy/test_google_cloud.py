"""The Google Cloud of this machine refuses what Google refuses: a test that passes on it says something."""

import json
import urllib.error
import urllib.request

import pytest

from tests.support.google_cloud.api import BUCKET, DATA, OWNER, PROJECT
from tests.support.google_cloud.server import google_cloud

POLICY = f"cloudresourcemanager/v1/projects/{PROJECT}:setIamPolicy"
UPDATE = f"composer/v1/projects/{PROJECT}/locations/europe-west1/environments/mill?updateMask="
LOAD = UPDATE.partition("?")[0] + ":loadSnapshot"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with google_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def ask(cloud, path, content=None, *, method="POST", by=OWNER):
    """Returns the answer's status and content."""
    data = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": f"Bearer {by}"} if by else {}
    request = urllib.request.Request(f"{cloud.url}/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["message"]


def binding(role, member=OWNER):
    return {"policy": {"etag": "dmVyc2lvbiAw", "bindings": [{"role": role, "members": [member]}]}}


def software(**changes):
    return {"config": {"softwareConfig": changes}}


@pytest.mark.parametrize(
    ("method", "path", "content", "code", "says"),
    [
        pytest.param("POST", POLICY, binding("roles/ownr"), 400, "Role roles/ownr is not supported", id="role"),
        pytest.param("POST", POLICY, binding("roles/owner", "ann"), 400, "of an unknown type", id="member"),
        pytest.param(
            "POST", POLICY, binding("roles/owner", "serviceAccount:a@b.example"), 400, "does not exist", id="account"
        ),
        pytest.param("POST", POLICY, {"policy": {"etag": "b2xk"}}, 409, "concurrent policy changes", id="stale policy"),
        pytest.param("PUT", f"storage/v1/b/{DATA}/iam", {"etag": "b2xk"}, 412, "concurrent", id="stale on a bucket"),
        pytest.param(
            "PUT",
            f"storage/v1/b/{BUCKET}/iam",
            binding("roles/dataflow.worker")["policy"],
            400,
            "not supported for this resource",
            id="a role for projects on a bucket",
        ),
        pytest.param("GET", "storage/v1/b/no-such-bucket/iam", None, 404, "was not found", id="bucket"),
        pytest.param("GET", f"iam/v1/projects/{PROJECT}:getIamPolicy", None, 404, "No method", id="another API's path"),
        pytest.param("PATCH", UPDATE + "config.node_count", {}, 400, "is not of one kind", id="what cannot be updated"),
        pytest.param(
            "PATCH",
            UPDATE + "config.software_config.image_version",
            software(imageVersion="composer-3-airflow-9"),
            400,
            "Image version composer-3-airflow-9 is not supported",
            id="image",
        ),
        pytest.param(
            "PATCH",
            UPDATE + "config.software_config.env_variables",
            software(envVariables={"AIRFLOW__CORE__FERNET_KEY": "x"}),
            400,
            "AIRFLOW__CORE__FERNET_KEY is reserved",
            id="reserved variable",
        ),
        pytest.param(
            "PATCH",
            UPDATE + "config.software_config.pypi_packages.obstore",
            software(pypiPackages={"obstore": "=0.12"}),
            400,
            "The PyPI package obstore=0.12 is not valid",
            id="package",
        ),
        pytest.param("POST", LOAD, {"snapshotPath": "gs://b/s"}, 400, "There is no snapshot gs://b/s", id="snapshot"),
    ],
)
def test_what_it_refuses(cloud, method, path, content, code, says):
    found, said = ask(cloud, path, content, method=method)
    assert (found, says in said) == (code, True), said


def test_whoever_is_not_signed_in_is_refused(cloud):
    assert ask(cloud, POLICY, by="")[0] == 401


def test_what_nobody_answers_is_remembered(cloud):
    assert ask(cloud, "iam/v2/nothing", method="GET")[0] == 404
    assert "GET /iam/v2/nothing: Not Found" in cloud.told()["strays"]


def test_an_environment_that_is_being_updated_takes_no_second_update(tmp_path):
    with google_cloud(tmp_path) as cloud:
        path = UPDATE + "config.software_config.env_variables"
        started = ask(cloud, path, software(envVariables={"A": "1"}), method="PATCH")[1]["name"]
        code, said = ask(cloud, path, software(envVariables={"A": "2"}), method="PATCH")
        assert (code, "with state UPDATING" in said) == (400, True)
        assert "envVariables" not in cloud.told()["environment"]["config"]["softwareConfig"]
        while "done" not in ask(cloud, f"composer/v1/{started}", method="GET")[1]:
            pass
        assert cloud.told()["environment"]["config"]["softwareConfig"]["envVariables"] == {"A": "1"}
