import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from imagemill.spec.schema import json_schema

SPECS = Path(__file__).parents[3] / "dags/datasets"
LEAST = {"name": "pets", "source": {"type": "folder", "root": "x"}}


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_the_committed_schema_is_current():
    assert json.loads((SPECS / "spec.schema.json").read_text()) == json_schema(), (
        "run: imagemill specs --schema > dags/datasets/spec.schema.json"
    )


@pytest.mark.parametrize("path", sorted(SPECS.glob("*.yaml")), ids=lambda path: path.stem)
def test_editors_find_no_fault_with_shipped_specs(validator, path):
    assert path.read_text().startswith("# yaml-language-server: $schema=spec.schema.json\n")
    assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == []


@pytest.mark.parametrize(
    "more",
    [
        {"validation": {"sample": "${N:-100}"}},
        {"approval": "${APPROVAL}"},
        {"conversion": {"formats": ["${FORMAT}"], "shards": {"count": {"train": "${N}"}}}},
        {"splits": {"fractions": {"train": "${SHARE}"}}},
        {"locations": {"output": "/o"}},
    ],
)
def test_variables_may_stand_for_any_value_and_locations_may_be_left_out(validator, more):
    assert validator.is_valid(LEAST | more)


@pytest.mark.parametrize(
    "more",
    [
        {"validation": {"sample": "many"}},
        {"sources": {}},
        {"approval": "maybe"},
        {"source": {"type": "cifar"}},
        {"name": 5},
    ],
)
def test_editors_see_faults(validator, more):
    assert not validator.is_valid(LEAST | more)
