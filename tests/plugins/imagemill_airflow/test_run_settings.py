"""The spec of one run: what the trigger form changes, what it may not, and what an edit in the middle does."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from imagemill.errors import CallerError
from imagemill.spec import DatasetSpec
from imagemill_airflow.run_settings import check_conf, chosen, keep, kept

PLACES = {"staging": "/s", "output": "/o", "work": "/w"}
FORM = {"runner": "local", "verification": "header", "workers": None, "approval": "none"}


def spec(**changes):
    source = {"type": "folder", "root": "/images"}
    return DatasetSpec.model_validate({"name": "pets", "source": source, "locations": PLACES} | changes)


def memory(**form):
    """Returns the context of a run's tasks."""
    left = {}
    ti = SimpleNamespace(xcom_push=left.__setitem__, xcom_pull=lambda *, task_ids, key: left.get(key))
    return {"ti": ti, "params": FORM | form}


def test_the_forms_defaults_change_nothing():
    assert chosen(spec(), FORM) == spec()


def test_the_form_wins():
    run = chosen(spec(), FORM | {"verification": "decode", "approval": "required", "workers": 3})
    assert run.conversion.verification == "decode"
    assert run.approval == "required"
    assert run.conversion.runner_options == {"worker_processes": 3}


def test_another_runner_does_not_get_the_options_of_the_specs():
    flink = spec(conversion={"runner": "flink", "runner_options": {"job_endpoint": "h:1"}})
    assert chosen(flink, FORM | {"runner": "prism"}).conversion.runner_options == {}
    assert chosen(flink, FORM | {"runner": "flink", "workers": 8}).conversion.runner_options["parallelism"] == 8


def test_a_runner_that_the_spec_is_not_made_for_is_refused_at_once():
    with pytest.raises(CallerError, match="needs the job server's address"):
        chosen(spec(), FORM | {"runner": "flink"})


def test_an_unknown_parameter_is_named_with_those_there_are():
    with pytest.raises(
        CallerError, match=r"'forse', which this DAG does not know; its parameters are approval, runner"
    ):
        check_conf({"forse": True}, FORM)
    check_conf(None, FORM)
    check_conf({"runner": "local"}, FORM)


def test_a_run_keeps_what_it_began_with_but_tells_whom_the_file_names_now():
    context = memory()
    keep(spec(), context["ti"])
    edited = spec(locations=PLACES | {"output": "/elsewhere"}, alerts={"email": ["new@example.org"]})
    run = kept(edited, context)
    assert run.locations.output == "/o"
    assert run.alerts.email == ("new@example.org",)


def test_without_a_first_task_file_and_form_decide():
    """A person may mark it as done: what the form says must not be lost with it."""
    context = memory(approval="required", verification="decode")
    assert kept(spec(), context) == chosen(spec(), context["params"])
    assert kept(spec(), context).approval == "required"


def test_an_edit_is_told_with_both_values_to_every_task_that_asks(caplog):
    context = memory()
    keep(spec(), context["ti"])
    with caplog.at_level(logging.WARNING):
        kept(spec(), context)
        assert caplog.text == ""
        kept(spec(locations=PLACES | {"output": "/elsewhere"}), context)
    assert 'locations.output is "/o" here, now "/elsewhere"' in caplog.text
