"""The script that grants, and the page that explains what it grants."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.gcloud import alone, needs_gcloud
from tests.support.google_cloud.environments import IMAGES
from tests.support.pages import commands

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "iam.sh"
PLACES = {
    "gs://my-data": "data bucket",
    "gs://my-temp": "temp bucket",
    "gs://my-environment": "environment's bucket",
    "my-project": "project",
    "mill": "repository of the worker image",
    "imagemill-workers@my-project.iam.gserviceaccount.com": "`imagemill-workers`",
}
EVERYTHING = (
    "--project my-project --data gs://my-data --temp my-temp --composer my-environment "
    "--deployer user:ann@example.org --registry europe-west1/mill"
)


def script(arguments):
    return subprocess.run([SCRIPT, *shlex.split(arguments)], capture_output=True, text=True, check=False)


def granted(arguments):
    found = set()
    for line in script(arguments).stdout.splitlines():
        words = shlex.split(line)
        if "add-iam-policy-binding" in words:
            place = words[words.index("add-iam-policy-binding") + 1]
            (member,) = (word.removeprefix("--member=") for word in words if word.startswith("--member="))
            (role,) = (word.removeprefix("--role=") for word in words if word.startswith("--role="))
            who = member.removeprefix("serviceAccount:").partition("@")[0]
            role = role.replace("my-project", "PROJECT")
            found.add(("deployer" if member.startswith("user:") else f"`{who}`", f"`{role}`", PLACES[place]))
    return found


def test_the_page_lists_what_the_script_grants():
    rows = re.findall(
        r"^\| (`[^|]*`|deployer) \| (`[^|]*roles/[^|]*`) \| ([^|]*) \|", (ROOT / "docs" / "iam.md").read_text(), re.M
    )
    assert set(rows) == granted(EVERYTHING)


def test_without_dataflow_and_composer_two_grants_do():
    assert granted("--project my-project --data my-data") == {
        ("`imagemill-tasks`", "`roles/storage.objectUser`", "data bucket"),
        ("`imagemill-training`", "`roles/storage.objectViewer`", "data bucket"),
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param("--project p", "--project and --data are needed", id="no bucket"),
        pytest.param("--project p --data", "--data wants a value", id="no value"),
        pytest.param("--project p --data d --force", "there is no option --force", id="an unknown option"),
        pytest.param(
            "--project p --data d --deployer user:a", "--deployer needs --composer", id="nowhere to deploy to"
        ),
        pytest.param(
            "--project p --data d --composer c --deployer ann", "write user:, group: or serviceAccount:", id="who is it"
        ),
        pytest.param("--project p --data d --registry mill", "write it as LOCATION/NAME", id="a registry nowhere"),
    ],
)
def test_mistakes_are_explained_before_anything_is_done(arguments, says):
    ended = script(arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"iam.sh: {says}" in ended.stderr or says in ended.stderr


GCLOUD = r"""#!/bin/sh
case "$*" in
*" describe "*) grep -q " create $(echo "$*" | sed 's/.* describe \([^@ ]*\).*/\1/') " "$0.log" ;;
*) echo "$*" >>"$0.log" ;;
esac
"""
"""Remembers what it was told to do, and knows the accounts and the role that it was told to create."""


def test_applied_twice_it_makes_each_account_and_the_role_once(tmp_path):
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(GCLOUD)
    gcloud.chmod(0o755)
    log = tmp_path / "gcloud.log"
    log.touch()
    for _ in range(2):
        before = log.read_text()
        ended = subprocess.run(
            [SCRIPT, *shlex.split(EVERYTHING), "--apply"],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == ""
    printed = [shlex.join(shlex.split(line)[1:]) for line in script(EVERYTHING).stdout.splitlines()]
    first = before.splitlines()
    assert first == [" ".join(shlex.split(line)) for line in printed], "what it prints is what it does"
    second = log.read_text().removeprefix(before).splitlines()
    assert second == [line for line in first if " create " not in line]


IN_MESSAGES = (
    "gcloud auth application-default login",
    "gcloud storage buckets create gs://my-temp --location=europe-west1 --project=my-project",
    "gcloud composer environments update mill --location europe-west1 --project my-project "
    "--update-pypi-package 'apache-beam[gcp]<2.78,>=2.75'",
)
"""What errors tell their reader to run, beside what pages have."""


@needs_gcloud
def test_gcloud_understands_every_command(tmp_path):
    lines = script(EVERYTHING).stdout.splitlines()
    for page in (ROOT / "docs").glob("*.md"):
        lines += [
            line.partition(" > ")[0].replace("IMAGE", IMAGES[0]) for line in commands(page.name, having="gcloud ")
        ]
    lines += IN_MESSAGES
    told = tmp_path / "commands.json"
    told.write_text(json.dumps([{"command_string": line.strip()} for line in lines]))
    ended = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={told}"],
        env=os.environ | alone(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    results = [result for line in ended.stdout.splitlines() for result in json.loads(line)]
    assert [result["error_message"] for result in results] == [None] * len(lines)
