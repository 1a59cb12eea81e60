"""The reference page docs/spec.md, made from the models: `python -m imagemill.spec.reference > docs/spec.md`."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from imagemill.spec.introspection import sections, source_models
from imagemill.spec.schema import DEFAULT_PLACES

_INTRODUCTION = """\
# The spec: every key

One YAML file describes one dataset: `dags/datasets/<name>.yaml`, where `<name>` is also the value of `name`. Each file
becomes a DAG, `refresh_<name>`. `imagemill specs` checks all of them and shows every fault at once, with its line, the
value and the fix. This page is made from the models in `imagemill/spec.py`; a test keeps it so.

The least that works, a folder of images with a folder inside for each class:

```yaml
# yaml-language-server: $schema=spec.schema.json
name: pets
source: {type: folder, root: ~/pets}
splits:
  fractions: {train: 0.9, test: 0.1}
```

**Variables.** `${VAR}` is replaced from the environment, and `${VAR:-default}` falls back where VAR is unset or empty;
a default may hold variables too. `$${` stands for a literal `${`. A value that is one variable and nothing else keeps
YAML's types, so `sample: ${SAMPLE:-100}` is a number; quote it (`"${TAG}"`) to have text. `IMAGEMILL_HOME` always has a
value: unless set, it is `.imagemill` in the project's folder. `IMAGEMILL_STORE`, where it is set, is the bucket
or folder of every spec that names no places of its own, so that a whole team's specs move with one variable.

**Places.** A location is a URI (`gs://bucket/prefix`, `s3://…`, `az://…`, `file:///path`) or a path. Relative paths
start at the spec's folder, and `~` is your home folder.

**Quotes.** YAML takes `no`, `on`, `7`, `null` and `12:30` for something other than text. Quote labels that look so.
"""


def reference() -> str:
    """Returns the page, in Markdown."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    kinds = {model: kind for kind, model in source_models().items()}
    for path, models in sections().items():
        for model in models:
            title = f"`{path}`" if path else "The file"
            yield f"## {title}" + (f", `type: {kinds[model]}`" if model in kinds else "")
            yield ""
            yield inspect.cleandoc(model.__doc__ or "")
            yield ""
            yield from _table(path, model)
            yield ""


def _table(path: str, model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in schema["properties"].items():
        if name == "type":
            continue
        meaning = " ".join(field.get("description", "").split())
        value = _escaped(_value(field, definitions))
        yield f"| `{name}` | {value} | {_default(path, name, field, schema)} | {_escaped(meaning)} |"


def _default(path: str, name: str, field: dict[str, Any], schema: dict[str, Any]) -> str:
    if path == "locations":
        return f"`{DEFAULT_PLACES[name]}`"
    if name == "locations":
        return "as below"
    if name in schema.get("required", ()):
        return "required"
    default = field.get("default")
    if default is None or (default in ([], {}, "") and "enum" not in field):
        return "none"
    return "as below" if isinstance(default, dict) else f"`{json.dumps(default)}`"


def _value(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Describes a JSON schema in words."""
    if "oneOf" in field or "$ref" in field or "allOf" in field:
        return "section"
    if "anyOf" in field:
        kinds = [_value(each, definitions) for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in field:
        return " or ".join(f"`{json.dumps(each) if each == '' else each}`" for each in field["enum"])
    if field["type"] == "array":
        return f"list of {_value(field['items'], definitions)}"
    if field["type"] == "object":
        inner = field.get("additionalProperties") or next(iter(field["patternProperties"].values()))
        return f"mapping to {_value(inner, definitions)}"
    return _TYPES[field["type"]] + _bounds(field)


_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def _bounds(field: dict[str, Any]) -> str:
    parts = [
        f"{words} {int(field[key]):,}"
        for key, words in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in field
    ]
    return f", {' '.join(parts)}" if parts else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(reference())
