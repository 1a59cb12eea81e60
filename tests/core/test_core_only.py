"""The commands work where only the core is installed: no Airflow, no TensorFlow, and none of this checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.conversions import Inputs, picture
from tests.support.worker_environment import build_wheel

ROOT = Path(__file__).parents[2]
ABSENT = ["airflow", "tensorflow", "tensorflow_datasets", "google.cloud", "pytest"]


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """A virtual environment with the project's wheel and what it asks for, as locked."""
    folder = tmp_path_factory.mktemp("core")
    uv = [str(Path(sys.executable).with_name("uv"))]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    wheel = build_wheel(folder)
    lock = ["--constraint", ROOT / "requirements.txt"]
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *lock, wheel], check=True)
    return folder


@pytest.fixture(scope="module")
def imagemill(core):
    def run(*arguments):
        environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        command = [core / "venv" / "bin" / "imagemill", *map(str, arguments)]
        environment["HOME"] = str(core)
        return subprocess.run(command, cwd=core, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="module")
def version(core, imagemill):
    inputs = Inputs(core / "input")
    for number in range(30):
        inputs.add_good(f"{number}.png", picture(number), ("cat", "dog")[number % 2])
    inputs.add("torn.png", picture(1)[:-20], "cat")
    inputs.write_index()
    places = ["--index", core / "input/index.csv", "--images", core / "input/images", "--output", core / "output"]
    ended = imagemill("convert", *places, "--option", "worker_processes=2", "--json")
    assert ended.returncode == 0, ended.stderr
    return Path(json.loads(ended.stdout)["version_uri"])


def test_nothing_else_is_installed(core):
    script = (
        "from importlib.util import find_spec\n"
        f"print([name for name in {ABSENT} if find_spec(name.partition('.')[0]) and find_spec(name)])"
    )
    command = [core / "venv" / "bin" / "python", "-c", script]
    found = subprocess.run(command, cwd=core, env={}, capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_convert(version):
    manifest = json.loads((version / "manifest.json").read_text())
    assert sum(shard["records"] for shard in manifest["shards"]) == 30
    assert manifest["reject_reasons"] == {"truncated": 1}


def test_inspect(imagemill, version):
    shard = next(version.glob("*.tfrecord-*"))
    ended = imagemill("inspect", shard, "-n", "3", "--json")
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads(ended.stdout)["records"]) == 3


def test_verify_reads_natively_and_says_so(imagemill, core, version):
    ended = imagemill("verify", version, "--against", core / "input/images")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "imagemill's own reader" in ended.stdout
    assert "TensorFlow did not look" in ended.stdout
    assert "passed" in ended.stdout


def test_what_needs_airflow_says_what_to_install(imagemill, core):
    specs = core / "dags" / "datasets"
    specs.mkdir(parents=True)
    (specs / "dots.yaml").write_text("name: dots\nsource: {type: shapes}\nsplits: {names: [train, test]}\n")
    ended = imagemill("refresh", "dots")
    assert ended.returncode == 2, ended.stderr
    assert "imagemill[airflow]" in ended.stderr
