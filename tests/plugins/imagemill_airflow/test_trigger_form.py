"""The trigger form: it knows what the spec knows, and a run can be started with all that it says by itself."""

from typing import get_args

import pytest

from tests.support.airflow_home import HOME

from imagemill.records.sharding import MAX_SHARDS  # isort: skip
from imagemill.spec import Conversion, DatasetSpec  # isort: skip  (after its settings)
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


def test_every_default_is_allowed_and_the_specs_own_choice_comes_first():
    form = trigger_form(spec(conversion={"runner": "prism", "verification": "decode"}))
    assert {name: param.resolve() for name, param in form.items()} == {
        "force": False,
        "limit": 0,
        "runner": "prism",
        "workers": None,
        "shards": None,
        "verification": "decode",
        "approval": "none",
        "note": None,
    }
    assert form["runner"].schema["enum"][0] == "prism"


def test_a_run_cannot_do_without_an_approval_that_the_spec_requires():
    assert trigger_form(spec(approval="required"))["approval"].schema["enum"] == ["required"]


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
