"""What the checks look at, gathered once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagemill.errors import CallerError
from imagemill.home import home, specs_dir
from imagemill.spec import DatasetSpec
from imagemill.spec.file import BrokenSpec, LoadedSpec, load_all
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.storage.uri import parse

PATIENCE_SECONDS = 10.0
"""Time for one request to a store, with its retries: a doctor does not wait for a store to come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An installation of imagemill, as its environment describes it.

    Attributes:
        environment: The variables.
        folder: Folder of the specs.
        home: `IMAGEMILL_HOME`; it need not exist yet.
        datasets: Specs that are fine.
        broken: Specs that are not.
        settings: How object stores are reached.
    """

    environment: Mapping[str, str]
    folder: Path
    home: Path
    datasets: tuple[LoadedSpec, ...]
    broken: tuple[BrokenSpec, ...]
    settings: ObjectStoreSettings

    @property
    def specs(self) -> list[DatasetSpec]:
        """The specs that are fine."""
        return [each.spec for each in self.datasets]

    @property
    def schemes(self) -> set[str]:
        """The schemes of all places that refreshes read from or write to."""
        return {parse(place).scheme for spec in self.specs for place in (spec.locations.staging, spec.locations.output)}


def installation(names: Sequence[str] = (), *, environment: Mapping[str, str] = os.environ) -> Installation:
    """Gathers what there is.

    Args:
        names: The datasets to look at; by default all.
        environment: The variables.

    Raises:
        CallerError: There is no folder of specs, one that is named does not exist, or a setting cannot be understood.
    """
    folder = specs_dir(environment=environment)
    loaded = load_all(folder, environment=environment)
    if unknown := [name for name in names if name not in {each.name for each in loaded}]:
        there = ", ".join(each.name for each in loaded) or "none"
        raise CallerError(f"no dataset {unknown[0]!r} in {folder}; there are {there}")
    chosen = [each for each in loaded if not names or each.name in names]
    settings = ObjectStoreSettings.from_environment(environment)
    patience = min(settings.storage_deadline_seconds, PATIENCE_SECONDS)
    return Installation(
        environment=environment,
        folder=folder,
        home=home(folder, environment=environment),
        datasets=tuple(each for each in chosen if isinstance(each, LoadedSpec)),
        broken=tuple(each for each in chosen if isinstance(each, BrokenSpec)),
        settings=replace(settings, storage_deadline_seconds=patience),
    )


def nearest_folder(path: Path) -> Path:
    """Returns the path itself where it exists, otherwise the nearest folder above it that does.

    What lies below a folder that this user may not enter counts as not there.
    """
    return next(each for each in (path, *path.parents) if os.access(each, os.F_OK))
