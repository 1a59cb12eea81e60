"""docs/composer.md, and what docs/operate.md says of snapshots, as they are written.

The real gcloud, on a project of this machine, by whom docs/iam.md lets deploy and by whom it lets change environments.
"""

import re
import shlex
import subprocess

import pytest

from tests.support.command import SPEC
from tests.support.gcloud import needs_gcloud
from tests.support.gcs.server import emulator
from tests.support.google_cloud.api import ADMIN, BUCKET, OWNER
from tests.support.google_cloud.environments import IMAGES
from tests.support.google_cloud.server import google_cloud
from tests.support.pages import ROOT, commands, run

pytestmark = needs_gcloud

ANN = "user:ann@example.org"
THEIR_PACKAGES, THEIR_VARIABLES = {"their-tool": "==2.0"}, {"THEIRS": "1"}
VARIABLES = {"IMAGEMILL_HOME": "/tmp/imagemill", "IMAGEMILL_STORE": "gs://my-data/imagemill"}
DEPLOY, WITH_FILES = commands("composer.md", having="deploy.composer deploy")
PLACE = re.search(r"--environment \S+ --location \S+", DEPLOY)[0]


class Mill:
    """An environment, and a terminal for whoever works on it."""

    def __init__(self, cloud, storage):
        self.cloud, self.storage = cloud, storage

    def __call__(self, command, *, by):
        variables = self.cloud.signed_in(by) | {"STORAGE_EMULATOR_HOST": self.storage.url}
        return run(command, within=self.cloud.folder, variables=variables)

    def deployer(self, command, *options):
        return self(f".venv/bin/python -m deploy.composer {command} {PLACE} {' '.join(options)}", by=ANN)

    @property
    def software(self):
        environment = self.cloud.told()["environment"]
        assert environment["state"] == "RUNNING"
        return environment["config"]["softwareConfig"]


@pytest.fixture(scope="module")
def mill(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mill")
    with google_cloud(folder) as cloud, emulator(folder, buckets=[BUCKET]) as storage:
        mill = Mill(cloud, storage)
        cloud.change(pypiPackages=THEIR_PACKAGES, envVariables=THEIR_VARIABLES)
        script = commands("iam.md", having="--deployer")[0].replace("ENVIRONMENT_BUCKET", BUCKET)
        for grant in mill(script, by=OWNER).out.splitlines():
            if "imagemillDeployer" in grant:
                ended = mill(grant, by=OWNER)
                assert ended.code == 0, ended.err
        yield mill
        assert cloud.told()["strays"] == []


@pytest.fixture(scope="module")
def deployed(mill):
    ended = mill(DEPLOY, by=ANN)
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def left(deployed):
    """The commands that the deployment leaves to its reader."""
    return re.findall(r"^  (gcloud .*)$", deployed.out, re.MULTILINE)


@pytest.fixture(scope="module")
def updated(mill, left):
    for command in left:
        ended = mill(command, by=ADMIN)
        assert ended.code == 0, ended.err
    return mill


def test_it_is_deployed_and_says_what_the_page_shows(deployed):
    shown = re.search(r"^gs://(\S+): deployed \w+; uploaded \d+, deleted 0, unchanged 0\nleft to you", page(), re.M)
    said = re.match(r"gs://(\S+): deployed \w+; uploaded \d+, deleted 0, unchanged 0\nleft to you", deployed.out)
    assert said[1] == shown[1] == BUCKET
    assert re.findall(r"^  (gcloud .*)$", deployed.out, re.M) == re.findall(r"^  (gcloud .*)$", page(), re.M)


def test_who_may_deploy_may_not_change_the_environment(mill, left):
    ended = mill(left[-1], by=ANN)
    assert ended.code == 1
    assert "Update operation failed because of lack of proper permissions" in ended.err


def test_the_two_commands_that_are_left_do_what_is_wanted_and_take_nothing_away(updated):
    assert updated.software["pypiPackages"] == THEIR_PACKAGES | {"obstore": ">=0.12"}
    assert updated.software["envVariables"] == THEIR_VARIABLES | VARIABLES


def test_then_nothing_is_left(updated):
    ended = updated(DEPLOY, by=ANN)
    assert (ended.code, "nothing uploaded" in ended.out, "gcloud" in ended.out) == (0, True, False), ended
    assert "everything is installed" in ended.out
    assert "all are set" in ended.out


def test_what_gcloud_prints_can_be_given_as_files(updated):
    for command in commands("composer.md", having=" > "):
        assert updated(command, by=ANN).code == 0
    ended = updated(WITH_FILES, by="user:eve@example.org")
    assert (ended.code, "nothing uploaded" in ended.out, "gcloud" in ended.out) == (0, True, False), ended


def test_the_make_target_runs_the_same_command():
    (target,) = re.findall(r"`(make composer .*?)`", page())
    printed = subprocess.run(
        [*shlex.split(target), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.replace("\\\n", " ")
    assert shlex.split(DEPLOY) in [shlex.split(line) for line in printed.splitlines() if "deploy.composer" in line]


def test_a_rollback_after_a_deployment_of_other_specs(updated):
    specs = updated.cloud.folder / "specs"
    specs.mkdir()
    (specs / "dots.yaml").write_text(SPEC)
    before = updated.deployer("status").out
    assert "deployed " in updated.deployer("deploy", "--specs", str(specs)).out
    executions = len(updated.cloud.told()["executions"])
    assert "deployed " in updated.deployer("rollback").out
    current, other = updated.deployer("status").out.splitlines()
    assert (current.split()[:2], other[0]) == (before.split()[:2], " ")
    assert len(updated.cloud.told()["executions"]) == executions, "the way back needs no worker"


def test_a_newer_image(updated):
    update, check = (commands("composer.md", having=text)[0] for text in ("--image-version", "composer check"))
    assert updated(update.replace("IMAGE", IMAGES[1]), by=ADMIN).code == 0
    assert updated.software["imageVersion"] == IMAGES[1]
    assert updated(check, by=ANN).out == f"mill ({IMAGES[1]}) fits\n"


def test_a_snapshot_and_the_way_back(updated):
    save, load = commands("operate.md", having="snapshots")
    ended = updated(save, by=ADMIN)
    assert ended.code == 0, ended.err
    snapshot = re.search(r"snapshotPath: (\S+)", ended.out)[1]
    assert snapshot.startswith(f"gs://{BUCKET}/snapshots/")
    before = updated.software
    updated.cloud.change(pypiPackages={}, envVariables={"IMAGEMILL_HOME": "/nowhere"})
    ended = updated(load.replace("SNAPSHOT", snapshot), by=ADMIN)
    assert ended.code == 0, ended.err
    assert updated.software == before


def test_whom_nobody_lets_deploy_is_told_which_permission_is_lacking(mill):
    ended = mill(DEPLOY, by="user:eve@example.org")
    assert (ended.code, ended.out) == (2, "")
    assert "PERMISSION_DENIED: Permission 'composer.environments.get' denied" in ended.err


def page():
    return (ROOT / "docs" / "composer.md").read_text()
