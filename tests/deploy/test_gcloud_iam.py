"""docs/iam.md as it is written: the real gcloud, on a project of this machine."""

import re

import pytest

from tests.support.gcloud import needs_gcloud
from tests.support.google_cloud.api import ADMIN, BUCKET, DATA, OWNER, PROJECT, REPOSITORY, TEMP
from tests.support.google_cloud.server import google_cloud
from tests.support.pages import ROOT, commands, run

pytestmark = needs_gcloud

DOMAIN = f"{PROJECT}.iam.gserviceaccount.com"
PLACES = {
    "data bucket": f"buckets/{DATA}",
    "temp bucket": f"buckets/{TEMP}",
    "environment's bucket": f"buckets/{BUCKET}",
    "project": f"projects/{PROJECT}",
    "repository of the worker image": REPOSITORY,
    "`imagemill-workers`": f"projects/{PROJECT}/serviceAccounts/imagemill-workers@{DOMAIN}",
}
FIRST = {(f"projects/{PROJECT}", "roles/owner", OWNER), (f"projects/{PROJECT}", "roles/composer.admin", ADMIN)}


def listed():
    """Returns what the page's table grants, as resource, role and member."""
    page = (ROOT / "docs" / "iam.md").read_text()
    for who, role, place in re.findall(r"^\| `?([\w-]+)`? \| `([^|]*roles/[^|]*)` \| ([^|]*) \|", page, re.MULTILINE):
        member = "user:ann@example.org" if who == "deployer" else f"serviceAccount:{who}@{DOMAIN}"
        yield PLACES[place], role.replace("PROJECT", PROJECT), member


def granted(cloud):
    """Returns what the project's policies grant."""
    return {
        (resource, binding["role"], member)
        for resource, bindings in cloud.told()["policies"].items()
        for binding in bindings
        for member in binding["members"]
    }


def script():
    """Returns the page's two commands, the second with the arguments that it leaves out."""
    printing, applying = commands("iam.md", having="iam.sh")
    printing = f"{printing.replace('ENVIRONMENT_BUCKET', BUCKET)} --registry europe-west1/mill"
    return printing, printing.replace("deploy/iam.sh", applying.partition(" …")[0]) + applying.partition(" …")[2]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with google_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def applied(cloud):
    printing, applying = script()
    printed = run(printing, within=cloud.folder, variables=cloud.signed_in()).out.splitlines()
    assert {line.split()[0] for line in printed} == {"gcloud"}
    assert granted(cloud) == FIRST, "without --apply nothing is done"
    ended = run(applying, within=cloud.folder, variables=cloud.signed_in())
    assert ended.code == 0, ended.err
    return ended


def test_an_empty_project_gets_what_the_table_lists_and_nothing_else(cloud, applied):
    told = cloud.told()
    assert granted(cloud) == FIRST | set(listed())
    assert set(told["accounts"]) == {f"imagemill-{who}@{DOMAIN}" for who in ("tasks", "training", "workers")}
    (role,) = told["roles"].values()
    page = (ROOT / "docs" / "iam.md").read_text()
    assert set(role["includedPermissions"]) == set(re.findall(r"`(composer\.environments\.\w+)`", page))
    assert told["strays"] == []


def test_an_account_that_is_not_known_everywhere_yet_is_waited_for(applied):
    assert applied.err.count("a new account is not known everywhere yet; again in 1 s") == 3


def test_run_again_it_changes_nothing(cloud, applied):
    before = cloud.told()
    again = run(script()[1], within=cloud.folder, variables=cloud.signed_in())
    assert (again.code, cloud.told()) == (0, before), again.err
    assert "Created" not in again.err


def test_a_permission_that_is_lacking_is_named_with_the_command(cloud, applied):
    before = cloud.told()
    ended = run(script()[1], within=cloud.folder, variables=cloud.signed_in("user:eve@example.org"))
    assert (ended.code, cloud.told()) == (2, before)
    assert f"Permission 'iam.serviceAccounts.create' denied on resource 'projects/{PROJECT}'" in ended.err
    assert f"run the script again: gcloud iam service-accounts create imagemill-tasks --project={PROJECT}" in ended.err
