"""Checks of what is installed: Python, this package, and what it needs in which versions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement

from imagemill.doctor.finding import Finding, fault, good, skipped, warning

DISTRIBUTION = "imagemill"
PYTHON = (3, 11)

_ANCHORS = {"airflow": "apache-airflow", "gcp": "google-cloud-storage", "tensorflow": "tensorflow"}
"""The package that shows that an extra is meant to be there."""

InstalledVersion = Callable[[str], str | None]


def installed_version(name: str) -> str | None:
    """Returns a package's version, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_python(version: tuple[int, int, int] = sys.version_info[:3]) -> Iterator[Finding]:
    """Checks the interpreter: Beam's workers run the same minor version as what launches them."""
    text = ".".join(map(str, version))
    if version[:2] == PYTHON:
        yield good("python", f"Python {text}")
    else:
        wanted = ".".join(map(str, PYTHON))
        yield fault("python", f"Python {text}; imagemill is made for {wanted}", f"make an environment with {wanted}")


def check_packages(
    requirements: Sequence[str] | None = None, installed: InstalledVersion = installed_version
) -> Iterator[Finding]:
    """Checks the version of each package that this installation needs.

    Args:
        requirements: What imagemill needs, as its metadata says it; by default that of the installed distribution.
        installed: Tells a package's version.
    """
    if requirements is None:
        try:
            requirements = metadata.requires(DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            yield skipped("packages", "imagemill is no installed distribution here; who deployed it has checked them")
            return
    parsed = [Requirement(text) for text in requirements]
    extras = [extra for extra, anchor in _ANCHORS.items() if installed(anchor) is not None]
    faults = [problem for each in parsed if _applies(each, extras) and (problem := _problem(each, installed))]
    yield from faults
    if not faults:
        yield good("packages", "all in range" + (f", with {', '.join(extras)}" if extras else ""))


def _applies(requirement: Requirement, extras: Sequence[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _problem(requirement: Requirement, installed: InstalledVersion) -> Finding | None:
    version = installed(requirement.name)
    wanted = str(Requirement(str(requirement).partition(";")[0]))
    if version is None:
        return fault("packages", f"{requirement.name} is not installed", f"pip install '{wanted}'")
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return fault(
        "packages",
        f"{requirement.name} {version} is installed, and imagemill wants {requirement.specifier}",
        f"pip install '{wanted}', or install requirements.txt as it is locked",
    )


def check_parts() -> Iterator[Finding]:
    """Checks that the job's modules are beside this package, and says who will read samples back."""
    for module, needed in (("beam_jobs", "to convert"), ("imagemill_airflow", "to refresh")):
        if find_spec(module) is None:
            yield fault("packages", f"the package {module} is not importable; it is needed {needed}", _WHOLE)
    if find_spec("tensorflow") is None:
        yield warning(
            "tensorflow",
            "TensorFlow is not installed: validation reads samples back with imagemill's own reader",
            "fine on Composer and on workers; elsewhere install imagemill[tensorflow] to have a second opinion",
        )


_WHOLE = "install the whole project, as a wheel or with its folders on PYTHONPATH"
