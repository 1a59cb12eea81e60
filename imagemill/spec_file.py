"""Spec files: `<name>.yaml` in, a `DatasetSpec` or everything that is wrong with the file out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from imagemill.errors import CallerError
from imagemill.home import HOME_VARIABLE, home, specs_dir
from imagemill.spec import DatasetSpec
from imagemill.spec_checks import contradictions
from imagemill.spec_faults import Fault, SpecError, contradiction_fault, did_you_mean, model_faults, text_faults
from imagemill.spec_schema import json_schema
from imagemill.spec_yaml import Document, KeyPath, read_document

__all__ = ["BrokenSpec", "Fault", "LoadedSpec", "SpecError", "find_spec", "json_schema", "load_all", "load_spec"]

_MAX_BYTES = 1 << 20


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
    locations that are not given lie under `IMAGEMILL_HOME`.

    Raises:
        SpecError: The file cannot be read or has faults; all of them are in it, except that what contradicts what is
            told only between sections that are valid in themselves.
    """
    folder = path.expanduser().absolute().parent
    variables = {**environment, HOME_VARIABLE: str(home(folder, environment=environment))}
    document = read_document(_read_text(path), variables)
    if any(not fault.path for fault in document.faults) and not isinstance(document.value, dict):
        raise SpecError(path, text_faults(path, document))
    return _Reading(path, folder, document, variables[HOME_VARIABLE]).spec()


def load_all(folder: Path, *, environment: Mapping[str, str] = os.environ) -> list[LoadedSpec | BrokenSpec]:
    """Reads every spec in a folder, not in its subfolders, by name; no broken one hides another."""
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
    return sorted(
        path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and not path.name.startswith(".")
    )


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

    def __init__(self, path: Path, folder: Path, document: Document, home_folder: str) -> None:
        self._path = path
        self._document = document
        self._home = home_folder
        self._context = {"folder": str(folder)}

    def spec(self) -> DatasetSpec:
        value = self._document.value
        if not isinstance(value, dict):
            problem = "The file is empty." if value is None else "The file is not a mapping of keys to values."
            fix = "Start from a copy of a shipped spec, such as shapes.yaml."
            raise SpecError(self._path, [Fault(self._path, 1, 1, "", "", problem, fix)])
        self._fill_locations(value)
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
            name = self._path.stem
            locations.setdefault("staging", f"{self._home}/staging/{name}")
            locations.setdefault("output", f"{self._home}/datasets/{name}")
            locations.setdefault("work", f"{self._home}/work")

    def _name_faults(self, value: dict[str, Any]) -> Iterator[Fault]:
        name = value.get("name")
        if isinstance(name, str) and name != self._path.stem:
            place = self._document.keys[("name",)]
            problem = f"The name is `{name}`, and the file is called {self._path.name}."
            fix = f"Rename the file to {name}.yaml, or write `name: {self._path.stem}`."
            yield Fault(self._path, *place, "name", name, problem, fix)

    def _explain(self, value: dict[str, Any], errors: list[ErrorDetails]) -> Iterator[Fault]:
        yield from model_faults(self._path, self._document, errors)
        if all(error["loc"] == () for error in errors):
            return
        # pydantic stops before the spec's own checks where a section has faults; run those that do not read it.
        valid: dict[str, Any] = {}
        broken = {fault.path[0] for fault in self._document.faults if fault.path}
        unknown = {tuple(error["loc"]) for error in errors if error["type"] == "extra_forbidden"}
        for name, field in DatasetSpec.model_fields.items():
            if name in broken:
                continue
            if name not in value:
                if not field.is_required():
                    valid[name] = field.get_default()
                continue
            section = _without(value[name], {loc[1:] for loc in unknown if loc[0] == name and len(loc) > 1}, name)
            adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
            try:
                valid[name] = adapter.validate_json(json.dumps(section), strict=True, context=self._context)
            except ValidationError as error:
                again = [{**each, "loc": (name, *each["loc"])} for each in error.errors()]
                yield from model_faults(self._path, self._document, again)  # type: ignore[arg-type]
        partial = DatasetSpec.model_construct(**valid)
        for found in contradictions(partial, sections=valid):
            yield contradiction_fault(self._path, self._document, found)


def _without(section: Any, unknown: set[KeyPath], name: str) -> Any:
    """Returns a section without its unknown keys, which spoil nothing else in it."""
    if not isinstance(section, dict):
        return section
    # Between `source` and its keys pydantic puts the kind of source.
    paths = {path[1:] if name == "source" else path for path in unknown}
    dropped = {path[0] for path in paths if len(path) == 1}
    inner = {path[0] for path in paths if len(path) > 1}
    return {
        key: _without(value, {path[1:] for path in paths if path[0] == key}, "") if key in inner else value
        for key, value in section.items()
        if key not in dropped
    }
