"""What this user cannot read or enter is a finding, never a traceback."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.doctor import Doctor

CATS = "name: cats\nsource: {type: folder, root: ROOT}\nsplits: {fractions: {train: 1.0}}\n"

NOBODY = 65534
EXAMINE = f"""
import json, os, sys
from pathlib import Path
from imagemill.doctor import examine, installation

found = installation()
list(examine(found, look_at_airflow=False))  # loads what that user may not be able to: a Python in root's home
Path(sys.argv[1]).chmod(0)
if os.getuid() == 0:  # whom no permission stops
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
print(json.dumps([each.model_dump() for each in examine(found, look_at_airflow=False)]))
"""


def test_a_spec_that_is_a_folder(command):
    (command.specs / "cats.yaml").mkdir()
    assert "cannot be read: Is a directory" in Doctor(command).one("spec cats")


def test_a_spec_that_is_a_dangling_link(command):
    (command.specs / "cats.yaml").symlink_to("/nowhere/cats.yaml")
    assert "cannot be read: No such file" in Doctor(command).one("spec cats")


@pytest.fixture
def open_folder():
    """One that everybody may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_folders_below_one_that_may_not_be_entered(command, open_folder):
    closed = open_folder / "closed"
    for part in ("home/datasets/cats", "images"):
        (closed / part).mkdir(parents=True)
    command.spec("cats", CATS.replace("ROOT", str(closed / "images")))
    variables = {"IMAGEMILL_SPECS": str(command.specs), "IMAGEMILL_HOME": str(closed / "home"), "HOME": str(closed)}
    ended = subprocess.run(
        [sys.executable, "-c", EXAMINE, closed],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    closed.chmod(0o755)
    assert ended.returncode == 0, ended.stderr
    says = {each["check"]: each["says"] for each in json.loads(ended.stdout) if each["verdict"] == "fault"}
    assert says["home"] == f"{closed} cannot be written"
    assert says["source cats"] == f"{closed} cannot be entered"
    assert says["staging cats"] == f"{closed} cannot be written"
    assert "Permission denied" in says["published cats"]
