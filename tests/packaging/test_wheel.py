"""What is released: a wheel with the right metadata and contents, whose version is the tag's."""

import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support.worker_environment import build_wheel

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def archive(wheel):
    with zipfile.ZipFile(wheel) as opened:
        yield opened


def test_the_version_is_said_once(wheel):
    assert wheel.name == f"imagemill-{PROJECT['version']}-py3-none-any.whl"
    said = git("grep", "--files-with-matches", "--extended-regexp", r"^(__version__|version) *=")
    assert said == ["pyproject.toml"]


def test_a_tag_is_the_version(wheel):
    versions = [tag.removeprefix("v") for tag in git("tag", "--points-at", "HEAD") if re.match(r"v\d", tag)]
    assert versions in ([], [PROJECT["version"]])


def test_the_changelog_tells_of_the_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert PROJECT["version"] in headings[:2]


def test_the_metadata(archive):
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(name))
    assert SpecifierSet(metadata["Requires-Python"]) == SpecifierSet(PROJECT["requires-python"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Summary"] == PROJECT["description"]
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    core = {Requirement(line).name for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert core == {Requirement(line).name for line in PROJECT["dependencies"]}
    assert not core & {"apache-airflow", "tensorflow"}


def test_the_contents_are_what_is_in_the_repository(archive):
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = {"imagemill": "imagemill", "beam_jobs": "beam_jobs", "imagemill_airflow": "plugins/imagemill_airflow"}
    committed = git("ls-files", "--cached", "--others", "--exclude-standard", *folders.values())
    assert names == {path.removeprefix("plugins/") for path in committed if (ROOT / path).exists()}
    assert "imagemill/py.typed" in names
    assert {name.split("/")[1] for name in archive.namelist() if ".dist-info/" in name} >= {
        "licenses",
        "entry_points.txt",
    }


def test_the_source_archive_holds_what_is_committed(tmp_path):
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, capture_output=True, check=True)
    with tarfile.open(tmp_path / f"imagemill-{PROJECT['version']}.tar.gz") as opened:
        names = {each.name.partition("/")[2] for each in opened if not each.isdir()}
    committed = git("ls-files", "--cached", "--others", "--exclude-standard")
    assert names == {*(path for path in committed if (ROOT / path).exists()), "PKG-INFO"}


def test_the_command_is_installed(archive):
    (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "imagemill = imagemill.cli:main" in archive.read(name).decode()


def test_it_runs_from_the_wheel_alone(wheel, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", "import imagemill; print(imagemill.__file__)"],
        env={"PYTHONPATH": str(wheel)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(wheel) in ended.stdout


def test_the_license_is_the_licence():
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text
