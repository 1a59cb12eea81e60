"""Checks of how a dataset's Beam job would be run, and whether its workers would know this project."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from imagemill.doctor.finding import Finding, as_finding, fault, good, warning
from imagemill.doctor.packages import DISTRIBUTION, installed_version
from imagemill.runners import OptionValue
from imagemill.spec import DatasetSpec
from imagemill.spec.dataflow import Dataflow
from imagemill.storage.uri import is_local

_PARTS = ("imagemill/__init__.py", "beam_jobs/__init__.py")
_MAKE = "make one with `python -m imagemill.worker_wheel FOLDER`"


def check_job(spec: DatasetSpec, *, emulator: bool) -> Iterator[Finding]:
    """Checks the runner and what its workers get.

    Args:
        spec: The dataset.
        emulator: gs:// is served by an emulator on this machine.
    """
    check, runner = f"runner {spec.name}", spec.conversion.runner
    options = spec.conversion.runner_options
    if installed_version("apache-beam") is None:
        yield fault(check, "apache-beam is not installed", "install imagemill with its dependencies")
    elif runner == "dataflow" and emulator:
        says = "Dataflow's workers cannot see this machine's emulator"
        yield fault(check, says, "unset STORAGE_EMULATOR_HOST, or use `runner: local`")
    elif runner == "prism" and "prism_location" not in options:
        yield fault(check, "it is not said where Prism is", "install it, and name it by runner_options.prism_location")
    else:
        yield good(check, runner)
    if runner == "dataflow":
        yield _judge_cloud_workers(f"workers {spec.name}", spec.conversion.dataflow)
    elif runner in ("flink", "portable"):
        yield _judge_workers(f"workers {spec.name}", options)


def _judge_cloud_workers(check: str, settings: Dataflow) -> Finding:
    if settings.worker_image:
        return good(check, f"{settings.worker_image} has what they need; it is not looked into from here")
    if settings.worker_wheel:
        return judge_wheel(check, settings.worker_wheel)
    return _judge_own_wheel(check)


def _judge_own_wheel(check: str) -> Finding:
    from imagemill.worker_wheel import build_worker_wheel

    with tempfile.TemporaryDirectory() as folder, as_finding(check):
        wheel = build_worker_wheel(Path(folder))
        return good(check, f"they get {wheel.name}, made of what is installed here")


def _judge_workers(check: str, options: Mapping[str, OptionValue]) -> Finding:
    if wheel := options.get("extra_package"):
        return judge_wheel(check, str(wheel))
    if options.get("environment_type", "LOOPBACK") == "LOOPBACK":
        says = "this process would be the only worker (environment_type LOOPBACK)"
        return warning(check, says, "good for a look; give a cluster environment_type EXTERNAL")
    return _judge_own_wheel(check)


def judge_wheel(check: str, place: str) -> Finding:
    """Returns what is to be said of the package that a job ships to its workers."""
    if not is_local(place):
        return good(check, f"{place} is shipped; it is not looked into from here")
    path = Path(place)
    try:
        with zipfile.ZipFile(path) as wheel:
            names = set(wheel.namelist())
    except FileNotFoundError:
        return fault(check, f"{path} is not there", f"{_MAKE}, and name it in the spec")
    except (OSError, zipfile.BadZipFile) as error:
        return fault(check, f"{path} cannot be read as a wheel ({error})", _MAKE)
    if missing := [part for part in _PARTS if part not in names]:
        return fault(check, f"{path} lacks {missing[0]}", f"it is not this project's wheel; {_MAKE}")
    return _judge_version(check, path)


def _judge_version(check: str, path: Path) -> Finding:
    try:
        shipped = str(parse_wheel_filename(path.name)[1])
    except InvalidWheelFilename as error:
        way_out = "rename it as `python -m imagemill.worker_wheel FOLDER` named it, or make it anew"
        return fault(check, f"workers cannot install {path} by that name ({error})", way_out)
    ours = installed_version(DISTRIBUTION)
    if ours is not None and shipped != ours:
        return fault(check, f"{path} is imagemill {shipped}, and this is {ours}", f"ship the same version: {_MAKE}")
    return good(check, f"{path} is imagemill {shipped}")
