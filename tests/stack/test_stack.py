"""The whole, really up: from nothing to a published dataset, through failures, restarts and a restore, to nothing."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import httpx
import pytest

import imagemill as library
from imagemill.catalog import read_manifest
from tests.support.compose import ONE_SHOT, SCRIPTS, ComposeStack, seconds_at_work, states
from tests.support.runners import ROOT
from tests.support.servers import LOOPBACK

# TFDS 4.9 calls what protobuf 6 has deprecated. Bringing the stack up takes a minute, building its image some more.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

GONE = """
name: gone
source: {type: folder, root: /nowhere/at/all}
splits: {fractions: {train: 1.0}}
"""
MANY = """
name: many
source: {type: shapes, train: 3000, test: 100}
splits: {names: [train, test]}
"""
OUTPUT = "gs://imagemill/datasets/shapes"
LIST_PACKAGES = (
    "import json; from importlib.metadata import distributions;"
    "print(json.dumps([(each.name, each.version) for each in distributions()]))"
)


@pytest.fixture(scope="module")
def stack(project):
    project.spec("gone", GONE)
    project.spec("many", MANY)
    started = time.monotonic()
    printed = project.up()
    assert f"http://localhost:{project.ui_port}" in printed
    assert project.logins()["admin"] in printed
    print(f"up after {time.monotonic() - started:.0f} s")
    assert project.api("GET", "dags/refresh_shapes").json()["is_paused"] is False, "what is up can be triggered"
    return project


@pytest.fixture(scope="module")
def published(stack):
    """The run that published the demo's dataset, and how long it took."""
    started = time.monotonic()
    run = stack.trigger("refresh_shapes")
    assert stack.finished(run) == "success", stack.explain(run)
    print(f"published after {time.monotonic() - started:.0f} s more")
    return run


def test_every_service_is_healthy_and_nobody_is_root(stack):
    containers = stack.containers()
    assert set(containers) == {
        "api-server", "dag-processor", "gcs", "mail", "postgres", "scheduler", "triggerer",
    }  # fmt: skip
    for service, container in containers.items():
        assert container["State"]["Health"]["Status"] == "healthy", service
        assert container["Config"]["User"] not in ("", "root", "0"), service
        uid = stack.compose("exec", "-T", service, "sh", "-c", "id -u").strip()
        assert uid != "0", service
        host = container["HostConfig"]
        assert host["CapDrop"] == ["ALL"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service


@pytest.mark.parametrize("check", [("job", "NoSuchJob"), ("http", "http://localhost:1/")])
def test_a_health_check_can_fail(stack, check):
    healthy = ["python", "/opt/stack/healthy.py"]
    asked = stack.run("docker", "compose", "exec", "-T", "scheduler", *healthy, *check, check=False)
    assert (asked.returncode, asked.stderr) == (1, "")


def test_only_the_pages_are_published_and_only_here(stack):
    published = {
        service: [
            (each["HostIp"], each["HostPort"])
            for ports in container["NetworkSettings"]["Ports"].values()
            for each in ports or []
        ]
        for service, container in stack.containers().items()
    }
    assert {service: ports for service, ports in published.items() if ports} == {
        "api-server": [(LOOPBACK, str(stack.ui_port))],
        "mail": [(LOOPBACK, str(stack.mail_port))],
    }


def test_nobody_can_write_where_dags_and_plugins_come_from(stack):
    for folder in ("dags", "plugins"):
        refused = stack.run(
            "docker", "compose", "exec", "-T", "scheduler", "touch", f"/opt/airflow/{folder}/x", check=False
        )
        assert "Read-only file system" in refused.stderr


def test_secrets_are_for_their_owner_and_a_second_start_keeps_them(stack):
    listing = stack.compose("exec", "-T", "scheduler", "sh", "-c", "stat -c '%a %n' /run/imagemill/*").split()
    modes = dict(zip(listing[1::2], listing[::2], strict=True))
    assert modes.pop("/run/imagemill/database-password") == "640"
    assert set(modes.values()) == {"600"}
    before = stack.logins()
    again = stack.compose("run", "--rm", "--no-deps", "-T", "secrets")
    assert again.strip() == "all secrets are there"
    assert stack.logins() == before


def test_the_ui_wants_a_login(stack):
    url = f"http://{LOOPBACK}:{stack.ui_port}"
    assert httpx.get(f"{url}/api/v2/dags").status_code == 401
    wrong = httpx.post(f"{url}/auth/token", json={"username": "admin", "password": "admin"})
    assert wrong.status_code == 401


def test_the_image_has_the_locked_packages_and_no_tool(stack):
    listing = stack.compose("exec", "-T", "scheduler", "python", "-c", LIST_PACKAGES)
    installed = {f"{plain(name)}=={version}" for name, version in json.loads(listing) if name != "imagemill"}
    lock = re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert installed - {f"{plain(name)}=={version}" for name, version in lock} == set()
    assert not {"tensorflow", "uv", "hatchling", "pytest"} & {each.partition("==")[0] for each in installed}
    for tool in ("uv", "gcc", "make", "git"):
        assert stack.run("docker", "compose", "exec", "-T", "scheduler", "which", tool, check=False).returncode


def test_the_image_says_what_it_was_made_of(stack):
    labels = stack.containers()["scheduler"]["Config"]["Labels"]
    revision = stack.run("git", "rev-parse", "HEAD").stdout.strip()
    version = stack.run("git", "describe", "--tags", "--always").stdout.strip()
    said = {name: labels[f"org.opencontainers.image.{name}"] for name in ("title", "revision", "version")}
    assert said == {"title": "imagemill", "revision": revision, "version": version}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_refresh_publishes_on_the_emulator(stack, published, tmp_path):
    import tensorflow_datasets as tfds

    assert states(stack.tasks(published))["publish"] == "success"
    version = Path(library.current(str(stack.download(OUTPUT, tmp_path / "down"))))
    info = tfds.builder_from_directory(version).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 600, "test": 120}
    assert library.RecordReader(str(version))[7].encoded
    assert read_manifest(str(version)).rejected == 0


@pytest.mark.parametrize("before", [(), ("python", "-m", "imagemill_airflow.signed_in")])
def test_the_doctor_finds_it_sound(stack, published, before):
    command = ("docker", "compose", "exec", "-T", "scheduler", *before, "imagemill", "doctor", "shapes", "--json")
    asked = stack.run(*command, check=False)
    faults = [each for each in json.loads(asked.stdout)["findings"] if each["verdict"] == "fault"]
    assert (asked.returncode, faults) == (0, [])


def test_a_second_refresh_changes_nothing(stack, published):
    run = stack.trigger("refresh_shapes")
    assert stack.finished(run) == "success"
    assert states(stack.tasks(run))["convert_images"] == "skipped"


def test_a_failure_is_mailed_with_its_reason(stack):
    run = stack.trigger("refresh_gone")
    assert stack.finished(run) == "failed"
    mail = stack.mails()[0]
    assert mail["Subject"].startswith("[imagemill] gone: prepare_images failed")
    assert mail["To"][0]["Address"] == "team@localhost"
    assert "/nowhere/at/all" in mail["HTML"]
    # The link leads to where the UI is published.
    assert f"http://localhost:{stack.ui_port}/dags/refresh_gone" in mail["HTML"]


def test_a_run_outlives_a_restart_of_everything(stack):
    run = stack.trigger("refresh_many")
    stack.waits_for(run, lambda tasks: tasks["prepare_images"]["state"] == "success")
    # Without the store no task ends, so the restart meets one at work, on a fast machine too.
    stack.compose("pause", "gcs")
    stack.waits_for(run, lambda tasks: any(seconds_at_work(task) > 5 for task in tasks.values()))
    stack.compose("restart", *(set(stack.containers()) - ONE_SHOT - {"gcs"}))
    stack.compose("unpause", "gcs")
    stack.compose("restart", "gcs")
    stack.compose("up", "--wait")
    assert stack.finished(run) == "success", stack.explain(run)
    assert any(task["try_number"] > 1 for task in stack.tasks(run).values()), "a task was at work"


def test_a_backup_restores_runs_logins_and_datasets(stack, published, tmp_path):
    file = tmp_path / "backup.tar"
    logins = stack.logins()
    before = stack.download(OUTPUT, tmp_path / "before")
    stack.run("make", "stack-backup", f"FILE={file}")
    assert file.stat().st_mode & 0o077 == 0
    refused = stack.run(SCRIPTS / "backup.sh", file, check=False)
    assert (refused.returncode, "name another file" in refused.stderr) == (2, True)

    damaged = tmp_path / "damaged.tar"
    stack.run("tar", "--extract", "--file", file, "--directory", tmp_path)
    with (tmp_path / "database.dump").open("r+b") as dump:
        dump.truncate(dump.seek(0, 2) // 2)
    parts = ("database.dump", "secrets.tar", "gcs.tar", "home.tar")
    stack.run("tar", "--create", "--file", damaged, "--directory", tmp_path, *parts)
    refused = stack.run(SCRIPTS / "restore.sh", damaged, "--replace", check=False)
    assert (refused.returncode, "take another backup" in refused.stderr) == (2, True)
    assert stack.containers().keys() >= {"postgres"}, "nothing was deleted"

    stack.compose("exec", "-T", "scheduler", "imagemill", "sync", "/opt/stack", OUTPUT, "--delete")
    refused = stack.run(SCRIPTS / "restore.sh", file, check=False)
    assert (refused.returncode, "add --replace" in refused.stderr) == (2, True)
    stack.run("make", "stack-restore", f"FILE={file}", "REPLACE=1")

    assert stack.logins() == logins
    assert stack.api("GET", published).json()["state"] == "success"
    after = stack.download(OUTPUT, tmp_path / "after")
    assert contents(after) == contents(before)
    run = stack.trigger("refresh_shapes")
    assert stack.finished(run) == "success"
    assert states(stack.tasks(run))["convert_images"] == "skipped"


ROTATIONS = {
    "The stack's logins and signing keys": {"logins.json", "jwt-secret", "api-secret-key"},
    "The stack's database password": {"database-password", "database-url"},
    "The stack's Fernet key": {"fernet-key"},
}


@pytest.mark.parametrize("what", ROTATIONS)
def test_a_secret_is_rotated_as_the_page_says(stack, published, what):
    """The commands are those of docs/operate.md, word for word."""
    page = (ROOT / "docs" / "operate.md").read_text()
    _, _, after = page.partition(f"- **{what}**")
    block = after.split("```console\n")[1].split("```")[0]
    before = secrets_of(stack)
    for command in re.findall(r"^ *\$ (.*)$", block, re.MULTILINE):
        stack.run("sh", "-c", command)
    now = secrets_of(stack)
    assert now.keys() == before.keys()
    assert {name for name, digest in now.items() if digest != before[name]} == ROTATIONS[what]
    assert stack.api("GET", published).json()["state"] == "success"
    run = stack.trigger("refresh_shapes")
    assert stack.finished(run) == "success", stack.explain(run)


def secrets_of(stack: ComposeStack) -> dict[str, str]:
    """Returns a digest of each secret, by its file's name."""
    listing = stack.compose("exec", "-T", "scheduler", "sh", "-c", "cd /run/imagemill && sha256sum *")
    return {name: digest for digest, name in (line.split() for line in listing.splitlines())}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_down_leaves_nothing(stack):
    stack.down()
    assert stack.leftovers() == []
