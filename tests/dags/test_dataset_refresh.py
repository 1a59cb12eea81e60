"""The DAGs as Airflow sees them: shape, parameters, cost of parsing, and what a broken spec does."""

import copy
import json
import subprocess
import sys
import textwrap
from contextlib import nullcontext

import pytest

from tests.support.airflow_home import ROOT, SETTINGS, SPECS

from airflow.dag_processing.dagbag import DagBag  # isort: skip  (after its settings)
from airflow.sdk.exceptions import ParamValidationError  # isort: skip

TASKS = ["prepare_images", "upload_images", "plan_conversion", "convert_images", "validate_records", "publish"]

FOLDER = """
name: {name}
description: Pictures of **cats**.
source: {{type: folder, root: {root}}}
{more}
"""


def write_spec(folder, name, more=""):
    (folder / f"{name}.yaml").write_text(FOLDER.format(name=name, root=folder, more=more))


@pytest.fixture(scope="module")
def bag():
    write_spec(SPECS, "cats", "schedule: '@daily'\nalerts: {email: [cats@example.org]}")
    write_spec(SPECS, "dogs", "approval: required\nconversion: {runner: prism}")
    (SPECS / "birds.yaml").write_text("name: birds\nsource: {type: folder, root: /x}\nshedule: '@daily'\nlabels: 7\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        return DagBag(ROOT / "dags" / "dataset_refresh.py")


@pytest.fixture
def cats(bag):
    return bag.dags["refresh_cats"]


def order(dag):
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def line(*tasks):
    return {task: {after} if after else set() for task, after in zip(tasks, [*tasks[1:], None], strict=True)}


def test_one_dag_for_each_spec(bag):
    assert bag.import_errors == {}
    assert set(bag.dags) == {"refresh_cats", "refresh_dogs", "refresh_birds"}


def test_the_tasks_stand_in_one_line(cats):
    edges = order(cats)
    # The plan is also handed to those who need it.
    assert edges.pop("plan_conversion") == {"convert_images", "validate_records", "publish"}
    expected = line(*TASKS, "prune_versions")
    del expected["plan_conversion"]
    assert edges == expected


def test_an_approval_stands_before_publishing(bag):
    edges = order(bag.dags["refresh_dogs"])
    assert edges["validate_records"] == {"approve"}
    assert edges["approve"] == {"publish"}


def test_one_run_at_a_time_and_none_for_the_past(cats):
    assert (cats.max_active_runs, cats.catchup) == (1, False)


def test_the_schedule_is_the_specs(bag, cats):
    assert cats.schedule == "@daily"
    assert bag.dags["refresh_dogs"].schedule is None


def test_only_a_scheduled_dag_may_start_paused(bag, cats):
    assert cats.is_paused_upon_creation is None
    assert bag.dags["refresh_dogs"].is_paused_upon_creation is False


@pytest.mark.parametrize("task_id", [*TASKS, "prune_versions"])
def test_every_task_retries_with_growing_capped_pauses_and_ends_at_last(cats, task_id):
    task = cats.get_task(task_id)
    assert task.retries == 4
    assert task.retry_exponential_backoff == 2.0
    assert task.retry_delay < task.max_retry_delay
    assert task.retry_policy is not None
    assert task.execution_timeout is not None


def test_every_task_explains_itself(bag):
    for dag_id in ("refresh_cats", "refresh_dogs"):
        for task in bag.dags[dag_id].tasks:
            assert "If it fails" in task.doc_md, task.task_id
            assert f"`{task.task_id}`" in bag.dags[dag_id].doc_md


def test_the_docs_show_the_specs_description(cats):
    assert "Pictures of **cats**." in cats.doc_md
    assert "When a run fails" in cats.doc_md


def test_a_failure_is_mailed_where_the_spec_names_an_address(bag, cats):
    def kinds(dag):
        return [type(callback).__name__ for callback in dag.get_task("publish").on_failure_callback]

    assert kinds(cats) == ["FailureLog", "FailureMail"]
    assert kinds(bag.dags["refresh_dogs"]) == ["FailureLog"]


def test_publishing_updates_the_datasets_asset(cats):
    (asset,) = cats.get_task("publish").outlets
    assert asset.name == "cats"
    assert asset.uri.startswith("file://")


def test_the_job_is_the_installed_one(cats):
    convert = cats.get_task("convert_images")
    assert convert.py_file == str(ROOT / "beam_jobs" / "convert_images.py")
    assert convert.py_interpreter == sys.executable


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        pytest.param({"force": True, "limit": 0, "shards": None}, True, id="as the form sends it"),
        pytest.param({"shards": 1}, True, id="one shard"),
        pytest.param({"force": "yes"}, False, id="force is no text"),
        pytest.param({"limit": -1}, False, id="negative limit"),
        pytest.param({"limit": "ten"}, False, id="limit in words"),
        pytest.param({"shards": 0}, False, id="no shard at all"),
        pytest.param({"runner": "spark"}, False, id="unknown runner"),
    ],
)
def test_the_trigger_form_refuses_nonsense(cats, value, fine):
    params = copy.deepcopy(cats.params)
    with nullcontext() if fine else pytest.raises(ParamValidationError, match=f"param {next(iter(value))}"):
        params.update(value)


def test_the_form_offers_the_specs_runner_first(bag, cats):
    assert cats.params.get_param("runner").schema["enum"][0] == "local" == cats.params["runner"]
    assert bag.dags["refresh_dogs"].params.get_param("runner").schema["enum"][0] == "prism"


def test_every_parameter_is_explained_and_sorted_into_a_section(cats):
    for name in cats.params:
        schema = cats.params.get_param(name).schema
        assert schema["title"], name
        assert schema["description_md"], name
        assert schema["section"], name


def test_a_broken_spec_shows_all_its_faults_and_breaks_no_other_dag(bag):
    birds = bag.dags["refresh_birds"]
    assert "broken-spec" in birds.tags
    assert birds.schedule is None
    for page in (birds.doc_md, birds.get_task("show_errors").doc_md):
        assert "shedule" in page
        assert "labels" in page
        assert "birds.yaml" in page
    assert list(birds.task_dict) == ["show_errors"]


PARSE = """
import json, runpy, sys, time
import airflow.sdk, airflow.providers.apache.beam.operators.beam
import airflow.providers.smtp.notifications.smtp, airflow.providers.standard.operators.hitl
started = time.process_time()
runpy.run_path("dags/dataset_refresh.py")
print(json.dumps([time.process_time() - started, sorted(sys.modules)]))
"""


def test_parsing_is_quick_and_loads_nothing_heavy(tmp_path):
    specs = tmp_path / "specs"
    specs.mkdir()
    for number in range(20):
        write_spec(specs, f"pets_{number}")
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PARSE)],
        cwd=ROOT,
        env=SETTINGS | {"IMAGEMILL_SPECS": str(specs), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    seconds, modules = json.loads(output.splitlines()[-1])
    heavy = {"apache_beam", "tensorflow", "numpy", "PIL", "obstore", "pyarrow", "beam_jobs.convert_images"}
    assert not heavy & set(modules)
    assert "imagemill_airflow.operators" in modules
    assert seconds < 1
