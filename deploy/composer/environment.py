"""A Composer environment, as `gcloud composer environments describe NAME --format json` tells of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.composer.ranges import Packages, fits, out_of_range
from imagemill.errors import CallerError
from imagemill.storage.uri import parse

GENERATION = "3"
_IMAGE = re.compile(r"composer-(\d+)(?:\.[\d.]+)?-airflow-(\d+\.\d+\.\d+)(?:-build\.\d+)?")
_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/environments/([^/]+)")
_DESCRIBE = "`gcloud composer environments describe ENVIRONMENT --location LOCATION --format json`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a deployment needs to know of an environment.

    Attributes:
        project: Its project.
        location: Its region.
        name: Its name.
        state: Such as RUNNING.
        image: Image version, such as composer-3-airflow-3.3.1-build.0.
        bucket: URI of its bucket.
        service_account: Whom its workers act as.
        variables: The environment variables that are set on it.
        custom: Packages that it was asked to install, by canonical name.
    """

    project: str
    location: str
    name: str
    state: str
    image: str
    bucket: str
    service_account: str
    variables: dict[str, str]
    custom: Mapping[str, str]

    @property
    def generation(self) -> str:
        """Composer's generation; "" where the image's name does not say."""
        return found[1] if (found := _IMAGE.fullmatch(self.image)) else ""

    @property
    def airflow(self) -> Version | None:
        """Airflow's version; None where the image's name does not say."""
        return Version(found[2]) if (found := _IMAGE.fullmatch(self.image)) else None

    @property
    def arguments(self) -> str:
        """How `gcloud composer environments update` names it."""
        return f"{self.name} --location {self.location} --project {self.project}"


def read_environment(text: str, *, where: str) -> Environment:
    """Reads a description.

    Raises:
        CallerError: It is not one, or lacks what a deployment needs.
    """
    try:
        described = json.loads(text)
        config = described["config"]
        software = config["softwareConfig"]
        name = _NAME.fullmatch(described["name"])
        if name is None:
            raise KeyError("name")
        return Environment(
            project=name[1],
            location=name[2],
            name=name[3],
            state=described.get("state", ""),
            image=software["imageVersion"],
            bucket=_bucket(config, described),
            service_account=config.get("nodeConfig", {}).get("serviceAccount", ""),
            variables=dict(software.get("envVariables", {})),
            custom={canonicalize_name(name): wanted for name, wanted in software.get("pypiPackages", {}).items()},
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CallerError(
            f"{where} is no description of an environment ({error!r}); make it with {_DESCRIBE}"
        ) from error


def _bucket(config: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    if prefix := config.get("dagGcsPrefix"):
        return f"gs://{parse(prefix).bucket}"
    return f"gs://{described['storageConfig']['bucket']}"


def problems(
    environment: Environment, packages: Packages | None, needed: list[Requirement], *, asked: list[Requirement]
) -> Iterator[str]:
    """Yields what keeps imagemill from running there, each with the way out.

    Args:
        environment: The environment.
        packages: What is installed in it; None where nobody has looked.
        needed: What imagemill needs.
        asked: What of it the environment is to be asked to install; it may be there in an older version.
    """
    update = f"gcloud composer environments update {environment.arguments}"
    newer = f"{update} --image-version IMAGE"
    image = environment.image
    if environment.generation != GENERATION or environment.airflow is None:
        yield f"{image} is not Composer {GENERATION}; create an environment of a composer-{GENERATION} image"
    else:
        airflow = next(each for each in needed if each.name == "apache-airflow")
        if not airflow.specifier.contains(environment.airflow):
            wanted = f"it has Airflow {environment.airflow}, and imagemill wants {airflow.specifier}"
            yield f"{image} does not fit: {wanted}; run `{newer}`"
    if environment.state not in ("", "RUNNING"):
        yield f"{environment.name} is {environment.state}; wait until it is RUNNING, or look at its page why it is not"
    ours = {canonicalize_name(each.name) for each in asked} & environment.custom.keys()
    for each, version in out_of_range(needed, packages or {}):
        name, wanted = canonicalize_name(each.name), f"and imagemill wants {each.specifier}; run"
        if name in ours:
            continue  # `to_install` has it
        if name in environment.custom:
            yield f"{name} {version} is installed as somebody asked, {wanted} `{update} --update-pypi-package '{each}'`"
        else:
            why = "with a build that has it, since Composer's own packages are not to be changed"
            yield f"{name} {version} is preinstalled, {wanted} `{newer}` {why}"


def to_install(
    environment: Environment, packages: Packages | None, requirements: list[Requirement]
) -> list[Requirement]:
    """Returns what the environment still lacks of what it is to be asked for, or has in another version."""

    def is_there(requirement: Requirement) -> bool:
        name = canonicalize_name(requirement.name)
        version = (packages or {}).get(name)
        return name in environment.custom if version is None else fits(requirement, version)

    return [each for each in requirements if not is_there(each)]
