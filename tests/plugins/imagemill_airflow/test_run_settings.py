"""The spec of one run: what the trigger form changes, what it may not, and what an edit in the middle does."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from imagemill.errors import CallerError
from imagemill.spec import DatasetSpec
from imagemill_airflow.run_settings import check_conf, chosen, keep, kept

PLACES = {"staging": "/s", "output": "/o", "work": "/w"}
FORM = {
    "runner": "local",
    "verification": "header",
    "workers": None,
    "approval": "none",
    "job_endpoint": None,
    "worker_pool": "",
    "prism_location": None,
}


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
    assert chosen(flink, FORM | {"runner": "local"}).conversion.runner_options == {}
    assert chosen(flink, FORM | {"runner": "flink", "workers": 8}).conversion.runner_options["parallelism"] == 8


def test_a_runner_that_the_spec_is_not_made_for_is_refused_at_once():
    with pytest.raises(CallerError, match="needs the job server's address"):
        chosen(spec(), FORM | {"runner": "flink"})
    with pytest.raises(CallerError, match="needs the path of Prism's binary"):
        chosen(spec(), FORM | {"runner": "prism"})


def test_the_form_says_how_a_runner_is_reached():
    flink = chosen(spec(), FORM | {"runner": "flink", "job_endpoint": "h:1", "worker_pool": "localhost:2"})
    reached = {"job_endpoint": "h:1", "environment_type": "EXTERNAL", "environment_config": "localhost:2"}
    assert flink.conversion.runner_options == reached
    prism = chosen(spec(), FORM | {"runner": "prism", "prism_location": "/opt/prism"})
    assert prism.conversion.runner_options == {"prism_location": "/opt/prism"}
    usual = spec(conversion={"runner": "flink", "runner_options": {"job_endpoint": "h:1", "parallelism": 2}})
    elsewhere = chosen(usual, FORM | {"runner": "flink", "job_endpoint": "h:3"})
    assert elsewhere.conversion.runner_options == {"job_endpoint": "h:3", "parallelism": 2}


def test_what_the_form_says_of_another_runner_is_refused():
    with pytest.raises(CallerError, match=r"job_endpoint \(h:1\) is for the runner flink or portable, .* is local"):
        chosen(spec(), FORM | {"job_endpoint": "h:1"})


@pytest.mark.parametrize("runner", ["local", "dataflow"])
def test_a_whole_number_with_a_point_is_an_integer_as_json_has_it(runner):
    cloud = {"project": "demo", "region": "us-central1", "temp_location": "gs://mill/temp"}
    places = {"staging": "gs://s/s", "output": "gs://o/o", "work": "/w"}
    run = chosen(spec(conversion={"dataflow": cloud}, locations=places), FORM | {"runner": runner, "workers": 2.0})
    told = run.conversion.runner_options.get("worker_processes", run.conversion.dataflow.max_num_workers)
    assert repr(told) == "2"


def test_no_run_does_without_an_approval_that_the_spec_requires():
    with pytest.raises(CallerError, match="requires an approval, and no run can do without"):
        chosen(spec(approval="required"), FORM)


def test_a_run_that_began_without_an_approval_ends_so_when_the_spec_comes_to_require_one(caplog):
    context = memory()
    keep(spec(), context["ti"])
    with caplog.at_level(logging.WARNING):
        assert kept(spec(approval="required"), context).approval == "none"
    assert 'approval is "none" here, now "required"' in caplog.text


def test_an_unknown_parameter_is_named_with_those_there_are():
    with pytest.raises(
        CallerError, match=r"'forse', which this DAG does not know; its parameters are approval, job_endpoint"
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
