"""The JSON Schema of a spec file, for editors."""

from __future__ import annotations

from typing import Any

from imagemill.spec import DatasetSpec

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_UNTYPED_TEXT = {"enum", "pattern"}


DEFAULT_PLACES = {
    "staging": "${IMAGEMILL_STORE:-${IMAGEMILL_HOME}}/staging/<name>",
    "output": "${IMAGEMILL_STORE:-${IMAGEMILL_HOME}}/datasets/<name>",
    "work": "${IMAGEMILL_HOME}/work",
}
"""Where things are kept unless the file says otherwise."""


def json_schema() -> dict[str, Any]:
    """Returns the schema (draft 2020-12) of a spec file.

    It describes the file rather than the model: `${VAR}` may stand for any value, and locations have defaults.
    """
    schema = DatasetSpec.model_json_schema()
    definitions = schema["$defs"]
    for definition in (schema, *definitions.values()):
        definition["properties"] = {
            name: field if name == "type" else _or_variable(field) for name, field in definition["properties"].items()
        }
    locations = definitions["Locations"]
    locations.pop("required", None)
    for name, place in DEFAULT_PLACES.items():
        locations["properties"][name]["default"] = place
    schema["required"] = [name for name in schema["required"] if name != "locations"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _or_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a value, admitting a text with a variable wherever not every text is admitted already."""
    schema = dict(schema)
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            schema[inner] = _or_variable(schema[inner])
    if patterns := schema.get("patternProperties"):
        schema["patternProperties"] = {pattern: _or_variable(value) for pattern, value in patterns.items()}
    if "anyOf" in schema:
        if {"type": "string"} not in schema["anyOf"]:
            schema["anyOf"] = [*schema["anyOf"], _VARIABLE]
        return schema
    if schema.get("type") not in ("integer", "number", "boolean") and not _UNTYPED_TEXT & schema.keys():
        return schema
    about: dict[str, Any] = {key: schema.pop(key) for key in ("title", "description", "default") if key in schema}
    return {**about, "anyOf": [schema, _VARIABLE]}
