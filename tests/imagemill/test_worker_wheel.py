"""The wheel that workers get: small, reproducible, with pinned needs, and enough to run the conversion."""

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from imagemill import worker_wheel
from imagemill.errors import CallerError
from imagemill.worker_wheel import PINNED, build_worker_wheel, main, shipped


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_worker_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_same_modules_give_the_same_bytes(wheel, tmp_path):
    assert build_worker_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_it_is_small_and_holds_the_domain_and_the_pipeline_only(wheel):
    assert wheel.stat().st_size < 600_000
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.partition("/")[0] for name in names}
        metadata = archive.read(f"imagemill-{version('imagemill')}.dist-info/METADATA").decode()
    assert tops == {"imagemill", "beam_jobs", f"imagemill-{version('imagemill')}.dist-info"}
    assert not [name for name in names if "__pycache__" in name]
    needs = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires")]
    assert needs == [f"{name}=={version(name)}" for name in PINNED]


def test_pip_installs_it(wheel, tmp_path):
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--offline", "--target", tmp_path]
    subprocess.run([*install, wheel], check=True)
    assert (tmp_path / "beam_jobs" / "transforms.py").is_file()


def test_the_command_prints_the_path(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["worker_wheel", str(tmp_path / "new")])
    assert main() == 0
    assert capsys.readouterr().out.strip() == str(next((tmp_path / "new").glob("*.whl")))


def test_a_need_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_wheel, "PINNED", ("no-such-package",))
    with pytest.raises(CallerError, match="no-such-package is not installed here"):
        build_worker_wheel(tmp_path)


POOL = {"environment_type": "EXTERNAL", "environment_config": "localhost:50000"}


@pytest.mark.parametrize(
    ("runner", "options"),
    [("dataflow", {}), ("flink", POOL), ("portable", {"environment_type": "PROCESS"}), ("prism", POOL)],
)
def test_a_job_ships_its_own_package_to_workers_that_lack_it(runner, options):
    with shipped(runner, options) as launched:
        (package,) = launched.pop("extra_package")
        assert zipfile.is_zipfile(package)
    assert launched == options
    assert not Path(package).exists()


@pytest.mark.parametrize(
    ("runner", "options"),
    [
        ("local", {}),
        ("prism", {}),
        ("flink", {"environment_type": "LOOPBACK"}),
        ("flink", {**POOL, "extra_package": "mine.whl"}),
        ("portable", {**POOL, "extra_packages": "mine.whl"}),
        ("portable", {"environment_type": "DOCKER", "environment_config": "imagemill-worker:dev"}),
        ("dataflow", {"sdk_container_image": "gcr.io/p/imagemill:1"}),
        ("dataflow", {"extra_package": ["gs://b/imagemill.whl"]}),
    ],
)
def test_workers_that_have_the_package_get_no_other(runner, options):
    with shipped(runner, options) as launched:
        assert launched == options
