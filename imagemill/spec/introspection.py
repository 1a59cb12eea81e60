"""The spec's models, looked at as data: which fields stand where. For error texts, the schema and the docs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from imagemill.spec import DatasetSpec, Source
from imagemill.spec.yaml import KeyPath


def source_models() -> dict[str, type[BaseModel]]:
    """Returns the model of each kind of source, by its `type`."""
    union, _ = get_args(Source)
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(union)}


def source_kinds() -> list[str]:
    """Returns the values that a source's `type` may have."""
    return list(source_models())


def sections() -> dict[str, list[type[BaseModel]]]:
    """Returns the models that describe each part of a spec, by dotted path ("" is the spec itself)."""
    found: dict[str, list[type[BaseModel]]] = {}

    def visit(path: str, model: type[BaseModel]) -> None:
        found.setdefault(path, []).append(model)
        for name, field in model.model_fields.items():
            inner = list(source_models().values()) if name == "source" else [field.annotation]
            for each in inner:
                if isinstance(each, type) and issubclass(each, BaseModel):
                    visit(f"{path}.{name}".removeprefix("."), each)

    visit("", DatasetSpec)
    return found


def fields_at(path: KeyPath, value: Any) -> dict[str, FieldInfo]:
    """Returns the fields of the part at `path`; of a source, those of the kind that `value` (the whole file) says."""
    models = sections().get(".".join(map(str, path)), [])
    if path == ("source",):
        with suppress(KeyError, TypeError):  # no source or no such kind: the fields of all kinds
            models = [source_models()[value["source"]["type"]]]
    return {name: field for model in models for name, field in model.model_fields.items()}


def sections_with(name: str) -> list[str]:
    """Returns the dotted paths of the parts that have a field `name`."""
    return [path for path, models in sections().items() if any(name in model.model_fields for model in models)]
