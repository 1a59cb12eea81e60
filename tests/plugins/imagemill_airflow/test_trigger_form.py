"""The trigger form: it knows what the spec knows, and a run can be started with all that it says by itself."""

from contextlib import nullcontext
from typing import get_args

import pytest

from tests.support.airflow_home import HOME

from airflow.sdk.exceptions import ParamValidationError  # isort: skip  (after its settings)
from imagemill.limits import MAX_SHARDS  # isort: skip
from imagemill.spec import Conversion, DatasetSpec  # isort: skip
from imagemill_airflow.approval import REASON, answer_form  # isort: skip
from imagemill_airflow.trigger_form import APPROVALS, RUNNERS, VERIFICATIONS, trigger_form  # isort: skip


def spec(**more):
    usual = {
        "name": "dots",
        "source": {"type": "shapes"},
        "splits": {"names": ["train", "test"]},
        "locations": {"staging": "/data/staging", "output": "/data/dots"},
    }
    return DatasetSpec.model_validate(usual | more)


@pytest.mark.parametrize(
    ("model", "field", "choices"),
    [
        (Conversion, "runner", RUNNERS),
        (Conversion, "verification", VERIFICATIONS),
        (DatasetSpec, "approval", APPROVALS),
    ],
)
def test_the_form_offers_what_the_spec_may_say(model, field, choices):
    assert set(choices) == set(get_args(model.model_fields[field].annotation))
    assert HOME.is_dir()


PRISM = {"prism_location": "/opt/prism"}


def test_every_default_is_allowed_and_the_specs_own_choice_comes_first():
    form = trigger_form(spec(conversion={"runner": "prism", "runner_options": PRISM, "verification": "decode"}))
    assert {name: param.resolve() for name, param in form.items()} == {
        "force": False,
        "limit": 0,
        "runner": "prism",
        "workers": None,
        "job_endpoint": None,
        "worker_pool": None,
        "prism_location": None,
        "shards": None,
        "verification": "decode",
        "approval": "none",
        "note": None,
    }
    assert form["runner"].schema["enum"][0] == "prism"


def test_a_spec_that_comes_to_require_an_approval_does_not_make_a_running_forms_answer_invalid():
    """Airflow checks the answer against the form anew before each task, and kills the task before it starts."""
    form = trigger_form(spec(approval="required"))["approval"]
    assert (form.resolve(), form.resolve("none")) == ("required", "none")


@pytest.mark.parametrize(
    ("field", "value", "fine"),
    [
        ("job_endpoint", "jobs.example.org:8099", True),
        ("job_endpoint", "", True),
        ("job_endpoint", "jobs.example.org", False),
        ("job_endpoint", "http://jobs:1", False),
        ("worker_pool", "localhost:50000", True),
        ("worker_pool", '{"command": "/bin/sh"}', False),
        ("prism_location", "/usr/local/bin/prism", True),
        ("prism_location", "https://example.org/prism", False),
        ("prism_location", "/bin/sh", False),
    ],
)
def test_the_form_takes_places_and_no_programs(field, value, fine):
    param = trigger_form(spec())[field]
    with nullcontext() if fine else pytest.raises(ParamValidationError):
        assert param.resolve(value) == value


def test_no_more_shards_than_have_names():
    assert trigger_form(spec())["shards"].schema["maximum"] == MAX_SHARDS


def test_every_field_has_section_title_and_help():
    for param in trigger_form(spec()).values():
        assert param.schema["title"]
        assert param.schema["section"]
        assert param.schema["description_md"]


@pytest.mark.parametrize("param", [trigger_form(spec())["note"], answer_form()[REASON]], ids=["note", "reason"])
def test_what_may_stay_empty_may_be_null_as_airflows_page_has_it(param):
    assert param.resolve(None) is None
    assert param.resolve("") == ""
