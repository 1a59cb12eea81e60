"""Spec files: `<name>.yaml` in, a `DatasetSpec` or everything that is wrong with the file out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from imagemill.errors import CallerError
from imagemill.home import HOME_VARIABLE, home, specs_dir
from imagemill.spec import NAME_PATTERN, DatasetSpec
from imagemill.spec.alerts import default_people
from imagemill.spec.contradictions import contradictions
from imagemill.spec.faults import (
    Fault,
    SpecError,
    contradiction_fault,
    did_you_mean,
    model_faults,
    path_of,
    text_faults,
)
from imagemill.spec.schema import DEFAULT_PLACES, json_schema
from imagemill.spec.variables import expand
from imagemill.spec.yaml import Document, read_document

__all__ = ["BrokenSpec", "Fault", "LoadedSpec", "SpecError", "find_spec", "json_schema", "load_all", "load_spec"]

_MAX_BYTES = 1 << 20
_STORE = "IMAGEMILL_STORE"


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec file that is fine.

    Attributes:
        path: The file.
        spec: What it says, with variables expanded and paths absolute.
    """

    path: Path
    spec: DatasetSpec

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class BrokenSpec:
    """A spec file that is not.

    Attributes:
        path: The file.
        error: What is wrong with it.
    """

    path: Path
    error: SpecError

    @property
    def name(self) -> str:
        """The name that the dataset would have, from the file's name."""
        return self.path.stem


def load_spec(path: Path, *, environment: Mapping[str, str] = os.environ) -> DatasetSpec:
    """Reads one spec file.

    Variables are expanded (`IMAGEMILL_HOME` always has a value), relative paths start at the file's folder, and
    locations that are not given lie under `IMAGEMILL_STORE` or `IMAGEMILL_HOME`. Failures of a spec that names nobody
    are mailed to the addresses in `IMAGEMILL_ALERT_EMAIL`, separated by commas.

    Raises:
        SpecError: The file cannot be read or has faults; all of them are in it, except that what contradicts what is
            told only between sections that are valid in themselves.
    """
    folder = path.expanduser().absolute().parent
    store = environment.get(_STORE, "").rstrip("/")
    variables = {**environment, HOME_VARIABLE: str(home(folder, environment=environment)), _STORE: store}
    document = read_document(_read_text(path), variables)
    if any(not fault.path for fault in document.faults) and not isinstance(document.value, dict):
        raise SpecError(path, text_faults(path, document))
    return _Reading(path, folder, document, variables).spec()


def load_all(folder: Path, *, environment: Mapping[str, str] = os.environ) -> list[LoadedSpec | BrokenSpec]:
    """Reads every spec in a folder, not in its subfolders, by name; no broken one hides another.

    Raises:
        CallerError: The folder cannot be listed.
    """
    return [_load(path, environment) for path in _spec_files(folder)]


def find_spec(name: str, *, folder: Path | None = None, environment: Mapping[str, str] = os.environ) -> DatasetSpec:
    """Reads the spec of a dataset.

    Args:
        name: The dataset's name, or the path of a spec file (anything that ends in `.yaml`).
        folder: Where the specs are; by default `imagemill.home.specs_dir()`.
        environment: Variables for the spec.

    Raises:
        CallerError: There is no such dataset; the message lists those there are.
        SpecError: Its file has faults.
    """
    if name.endswith(".yaml"):
        return load_spec(Path(name), environment=environment)
    folder = folder or specs_dir(environment=environment)
    files = {path.stem: path for path in _spec_files(folder)}
    if name not in files:
        there = f"There are {', '.join(files)}." if files else "There is none at all."
        raise CallerError(f"No dataset `{name}` in {folder}. {did_you_mean(name, files)}{there}")
    return load_spec(files[name], environment=environment)


def _spec_files(folder: Path) -> list[Path]:
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise CallerError(
            f"the folder of specs {folder} cannot be listed: {error.strerror}; mend that first"
        ) from error
    return [path for path in there if path.suffix in (".yaml", ".yml") and not path.name.startswith(".")]


def _load(path: Path, environment: Mapping[str, str]) -> LoadedSpec | BrokenSpec:
    try:
        return LoadedSpec(path, load_spec(path, environment=environment))
    except SpecError as error:
        return BrokenSpec(path, error)


def _read_text(path: Path) -> str:
    def fault(problem: str, fix: str, line: int = 1) -> SpecError:
        return SpecError(path, [Fault(path, line, 1, "", "", problem, fix)])

    if path.suffix != ".yaml":
        raise fault(
            f"A spec's file name ends in .yaml, and this one in {path.suffix or 'nothing'}.", "Rename the file."
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise fault(f"The file cannot be read: {error.strerror}.", "Check its path and permissions.") from error
    if len(data) > _MAX_BYTES:
        raise fault("The file is larger than 1 MiB.", "Move what is not a setting (such as rows) into an index CSV.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise fault(f"The byte 0x{data[error.start]:02x} is not UTF-8.", "Save the file as UTF-8.", line) from error


class _Reading:
    """One file on its way from plain values to a spec."""

    def __init__(self, path: Path, folder: Path, document: Document, variables: Mapping[str, str]) -> None:
        self._path = path
        self._document = document
        self._variables = variables
        self._context = {"folder": str(folder)}

    def spec(self) -> DatasetSpec:
        value = self._document.value
        if not isinstance(value, dict):
            problem = "The file is empty." if value is None else "The file is not a mapping of keys to values."
            fix = "Start from a copy of a shipped spec, such as shapes.yaml."
            raise SpecError(self._path, [Fault(self._path, 1, 1, "", "", problem, fix)])
        self._fill_locations(value)
        self._fill_alerts(value)
        found = [*text_faults(self._path, self._document), *self._name_faults(value)]
        try:
            # JSON mode is strict about types, yet knows that a list may stand for a tuple.
            spec = DatasetSpec.model_validate_json(json.dumps(value), strict=True, context=self._context)
        except ValidationError as error:
            found += self._explain(value, error.errors())
        if found:
            raise SpecError(self._path, dict.fromkeys(found))
        return spec

    def _fill_locations(self, value: dict[str, Any]) -> None:
        locations = value.setdefault("locations", {})
        if isinstance(locations, dict):
            for key, pattern in DEFAULT_PLACES.items():
                place = expand(pattern, self._variables).text.replace("<name>", self._path.stem)
                locations.setdefault(key, place)

    def _fill_alerts(self, value: dict[str, Any]) -> None:
        people = default_people(self._variables)
        alerts = value.setdefault("alerts", {}) if people else None
        if isinstance(alerts, dict):
            alerts.setdefault("email", people)

    def _name_faults(self, value: dict[str, Any]) -> Iterator[Fault]:
        name = value.get("name")
        stem = self._path.stem
        if isinstance(name, str) and name != stem and re.fullmatch(NAME_PATTERN, name):
            place = self._document.keys[("name",)]
            problem = f"The name is `{name}`, and the file is called {self._path.name}."
            fix = f"Rename the file to {name}.yaml" + (
                f", or write `name: {stem}`." if re.fullmatch(NAME_PATTERN, stem) else "."
            )
            yield Fault(self._path, *place, "name", name, problem, fix)

    def _explain(self, value: dict[str, Any], errors: list[ErrorDetails]) -> Iterator[Fault]:
        yield from model_faults(self._path, self._document, errors)
        if all(error["loc"] == () for error in errors):
            return  # only what the spec's own checks found
        # Where a section has faults, pydantic never comes to those checks; run all that read sound values only.
        unknown = {path_of(error) for error in errors if error["type"] == "extra_forbidden"}
        bad = {path_of(error) for error in errors} | self._document.broken
        partial: dict[str, Any] = {}
        sound: set[str] = set()
        for name, field in DatasetSpec.model_fields.items():
            if name not in value and field.is_required():
                continue
            keys = {path[1] for path in bad if path[:1] == (name,) and len(path) > 1}
            whole = all((name, key) in unknown for key in keys)
            try:
                partial[name] = self._section(name, field, value, without=keys)
            except ValidationError as error:
                if whole:  # what its unknown keys hid from pydantic
                    yield from model_faults(self._path, self._document, error.errors(), inside=(name,))
                continue
            sound |= {name} if whole else set()
            sound |= {f"{name}.{key}" for key in _fields(partial[name]) if key not in keys}
        for found in contradictions(DatasetSpec.model_construct(**partial), sound=sound):
            yield contradiction_fault(self._path, self._document, found)

    def _section(self, name: str, field: FieldInfo, value: dict[str, Any], without: set[str | int]) -> Any:
        """Validates one section without some of its keys.

        Raises:
            ValidationError: It cannot be used.
        """
        section = value[name] if name in value else field.get_default()
        if isinstance(section, BaseModel):
            return section
        if isinstance(section, dict):
            section = {key: each for key, each in section.items() if key not in without}
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
        return adapter.validate_json(json.dumps(section), strict=True, context=self._context)


def _fields(section: Any) -> Iterable[str]:
    return type(section).model_fields if isinstance(section, BaseModel) else ()
