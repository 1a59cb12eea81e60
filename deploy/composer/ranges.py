"""What imagemill needs, held against what an environment has: nothing preinstalled is to be changed."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from imagemill.errors import CallerError

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

PREINSTALLED = HERE / "environment.txt"
"""What composer-3-airflow-3.3.1-build.0 has, with hashes; `make composer-env` installs it."""

REQUIREMENTS = HERE / "requirements-composer.txt"
"""What Composer is asked to install: generated, and committed so that it is seen when it changes."""

EXTRAS = ("airflow", "gcp")
"""Not `tensorflow`: it does not fit beside what Composer has, and validation does without it."""

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
_COLUMNS = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s+(\d\S*)", re.MULTILINE)

Packages = Mapping[str, Version]
"""Versions by canonical name."""


def required(pyproject: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """Returns what imagemill needs on Composer: one range for each package, sorted by name."""
    project = tomllib.loads(pyproject.read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in EXTRAS for text in project["optional-dependencies"][extra])]
    merged: dict[str, Requirement] = {}
    for requirement in map(Requirement, texts):
        name = canonicalize_name(requirement.name)
        known = merged.setdefault(name, requirement)
        known.extras |= requirement.extras
        known.specifier = _tidy(known.specifier & requirement.specifier)
    return [merged[name] for name in sorted(merged)]


def _tidy(specifiers: SpecifierSet) -> SpecifierSet:
    return SpecifierSet(",".join(sorted({str(each) for each in specifiers})))


def python_range(pyproject: Path = ROOT / "pyproject.toml") -> SpecifierSet:
    """Returns the range of Python versions."""
    return SpecifierSet(tomllib.loads(pyproject.read_text())["project"]["requires-python"])


def read_packages(text: str, *, where: str) -> dict[str, Version]:
    """Reads a list of packages: what `pip list` prints (columns, freeze or JSON), or a file of pinned requirements.

    Raises:
        CallerError: There is no package in it.
    """
    stripped = text.lstrip()
    if stripped.startswith("["):
        try:
            pairs = [(each["name"], each["version"]) for each in json.loads(stripped)]
        except (ValueError, LookupError, TypeError):
            pairs = []
    else:
        pairs = _PINNED.findall(text) or _COLUMNS.findall(text)
    packages = {canonicalize_name(name): version for name, text in pairs if (version := _version(text)) is not None}
    if not packages:
        raise CallerError(
            f"{where} lists no package; make it with `gcloud beta composer environments list-packages ENVIRONMENT "
            "--location LOCATION`"
        )
    return {str(name): version for name, version in packages.items()}


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def out_of_range(requirements: Iterable[Requirement], packages: Packages) -> Iterator[tuple[Requirement, Version]]:
    """Yields each package that is there in a version out of our range, with that version."""
    for requirement in requirements:
        version = packages.get(canonicalize_name(requirement.name))
        if version is not None and not fits(requirement, version):
            yield requirement, version


def lacking(requirements: Iterable[Requirement], packages: Packages) -> list[Requirement]:
    """Returns what the environment does not have at all."""
    return [each for each in requirements if canonicalize_name(each.name) not in packages]


def fits(requirement: Requirement, version: Version) -> bool:
    """Tells whether a version is in our range."""
    return requirement.specifier.contains(version, prereleases=True)


def requirements_text() -> str:
    """Returns what requirements-composer.txt is to hold.

    Raises:
        CallerError: A package of the known Composer build is out of our range.
    """
    needed, there = required(), read_packages(PREINSTALLED.read_text(), where=str(PREINSTALLED))
    if problems := [f"{each} does not allow the build's {version}" for each, version in out_of_range(needed, there)]:
        raise CallerError(f"{'; '.join(problems)}; widen the range in pyproject.toml, or name a newer build")
    return "".join(f"{requirement}\n" for requirement in lacking(needed, there))


def read_requirements(text: str) -> list[Requirement]:
    """Reads requirements-composer.txt.

    Raises:
        CallerError: A line is no requirement.
    """
    try:
        return [Requirement(line) for line in text.splitlines() if line.strip()]
    except InvalidRequirement as error:
        raise CallerError(f"{REQUIREMENTS}: {error}; run `python -m deploy.composer requirements`") from error
