"""The DAGs as Airflow sees them: shape, parameters, cost of parsing, and what a broken spec does."""

import copy
import json
import subprocess
import sys
import textwrap
from contextlib import nullcontext

import pytest

from tests.support.airflow_home import ROOT, SETTINGS, SPECS
from tests.support.refresh_tasks import TASKS

from airflow.dag_processing.dagbag import DagBag  # isort: skip  (after its settings)
from airflow.sdk.exceptions import ParamValidationError  # isort: skip

FOLDER = """
name: {name}
description: Pictures of **cats**.
source: {{type: folder, root: {root}}}
{more}
"""


ON_PRISM = "conversion: {runner: prism, runner_options: {prism_location: /opt/prism}}"


def write_spec(folder, name, more=""):
    (folder / f"{name}.yaml").write_text(FOLDER.format(name=name, root=folder, more=more))


@pytest.fixture(scope="module")
def bag():
    write_spec(SPECS, "cats", "schedule: '@daily'\nalerts: {email: [cats@example.org], stale_after_days: 8}")
    write_spec(SPECS, "mice", "after: [cats, 's3://bucket/raw']")
    write_spec(SPECS, "rats", "after: [cats]\nschedule: '0 3 * * *'")
    write_spec(SPECS, "dogs", f"approval: required\n{ON_PRISM}")
    (SPECS / "birds.yaml").write_text("name: birds\nsource: {type: folder, root: /x}\nshedule: '@daily'\nlabels: 7\n")
    (SPECS / "fish tank.yaml").write_text("name: fish\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        yield DagBag(ROOT / "dags")
    for spec in SPECS.glob("*.yaml"):
        spec.unlink()


@pytest.fixture
def cats(bag):
    return bag.dags["refresh_cats"]


def order(dag):
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def line(*tasks):
    return {task: {after} if after else set() for task, after in zip(tasks, [*tasks[1:], None], strict=True)}


def test_one_dag_for_each_spec(bag):
    assert bag.import_errors == {}
    refreshes = {"refresh_cats", "refresh_dogs", "refresh_birds", "refresh_mice", "refresh_rats"}
    refreshes |= {"refresh_fish.20.tank"}  # broken, and no name that Airflow admits
    assert set(bag.dags) == refreshes | {"watch_freshness", "example_consumer"}


def test_the_tasks_stand_in_one_line(cats):
    edges = order(cats)
    # The plan is also handed to those who need it.
    assert edges.pop("plan_conversion") == {"convert_images", "validate_records", "approve", "publish"}
    expected = line(*TASKS)
    del expected["plan_conversion"]
    assert edges == expected


def test_publishing_waits_for_an_approval_only_where_one_is_wanted(bag):
    publish = bag.dags["refresh_dogs"].get_task("publish")
    assert publish.trigger_rule == "none_failed"  # `approve` is skipped where nobody is asked
    assert bag.dags["refresh_dogs"].params.get_param("approval").schema["enum"] == ["required", "none"]
    assert bag.dags["refresh_cats"].params.get_param("approval").schema["enum"] == ["none", "required"]
    assert [bag.dags[dag].params["approval"] for dag in ("refresh_dogs", "refresh_cats")] == ["required", "none"]


def test_one_run_at_a_time_and_none_for_the_past(cats):
    assert (cats.max_active_runs, cats.catchup) == (1, False)


def test_the_schedule_is_the_specs(bag, cats):
    assert cats.schedule == "@daily"
    assert bag.dags["refresh_dogs"].schedule is None


def test_a_refresh_may_follow_other_assets(bag):
    either = bag.dags["refresh_mice"].timetable.asset_condition
    assert [ref.name for ref in either.objects if hasattr(ref, "name")] == ["cats"]
    assert [ref.uri for ref in either.objects if hasattr(ref, "uri")] == ["s3://bucket/raw"]
    both = bag.dags["refresh_rats"].timetable
    assert [ref.name for ref in both.asset_condition.objects] == ["cats"]
    assert both.timetable.expression == "0 3 * * *"


def test_the_watch_looks_at_every_dataset_and_is_never_born_asleep(bag):
    watch = bag.dags["watch_freshness"]
    assert set(watch.task_ids) == {"birds.yaml", "fish.20.tank.yaml", "cats", "dogs", "mice", "rats"}
    assert (watch.schedule, watch.catchup, watch.is_paused_upon_creation) == ("@hourly", False, False)


@pytest.mark.parametrize(
    ("task_id", "told"),
    [
        pytest.param("cats", ["FailureAlert"], id="a target"),
        pytest.param("dogs", [], id="no target"),
        pytest.param("birds.yaml", ["BrokenSpecAlert"], id="a spec that nobody can read"),
    ],
)
def test_whom_a_failing_watch_concerns(bag, task_id, told):
    task = bag.dags["watch_freshness"].get_task(task_id)
    assert [type(callback).__name__ for callback in task.on_failure_callback] == told


def test_the_example_starts_with_any_publication_and_only_when_it_is_wanted(bag):
    example = bag.dags["example_consumer"]
    assert {asset.name for asset in example.timetable.asset_condition.objects} >= {"cats", "dogs"}
    assert example.is_paused_upon_creation is True


def test_only_a_scheduled_dag_may_start_paused(bag, cats):
    assert cats.is_paused_upon_creation is None
    assert bag.dags["refresh_dogs"].is_paused_upon_creation is False


@pytest.mark.parametrize("task_id", TASKS)
def test_every_task_retries_with_growing_capped_pauses_and_ends_at_last(cats, task_id):
    task = cats.get_task(task_id)
    assert task.retries == 4
    assert task.retry_exponential_backoff == 2.0
    assert task.retry_delay < task.max_retry_delay
    assert task.retry_policy is not None
    # A person's time to answer is counted apart.
    assert (task.response_timeout if task_id == "approve" else task.execution_timeout) is not None


def test_every_task_explains_itself(bag):
    for dag_id in ("refresh_cats", "refresh_dogs"):
        for task in bag.dags[dag_id].tasks:
            assert "If it fails" in task.doc_md, task.task_id
            assert f"`{task.task_id}`" in bag.dags[dag_id].doc_md


def test_the_docs_show_the_specs_description(cats):
    assert "Pictures of **cats**." in cats.doc_md
    assert "When a run fails" in cats.doc_md


@pytest.mark.parametrize("task_id", TASKS)
def test_every_task_tells_how_it_ended_and_only_then(cats, task_id):
    task = cats.get_task(task_id)
    assert [type(callback).__name__ for callback in task.on_failure_callback] == ["FailureAlert"]
    assert [type(callback).__name__ for callback in task.on_success_callback] == ["SuccessAlert"]
    assert not task.on_retry_callback  # one alert of a failure, when its retries are spent


def test_the_docs_say_who_is_told(bag, cats):
    assert "mail to cats@example.org: of failure, rejected" in cats.doc_md
    assert "name nobody" in bag.dags["refresh_dogs"].doc_md


def test_publishing_updates_the_datasets_asset(cats):
    (asset,) = cats.get_task("publish").outlets
    assert asset.name == "cats"
    assert asset.uri == "imagemill://datasets/cats"  # not the output, which may move


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
        pytest.param({"shards": 100_001}, False, id="too many shards"),
        pytest.param({"runner": "spark"}, False, id="unknown runner"),
        pytest.param({"workers": 0}, False, id="no worker"),
        pytest.param({"workers": "all"}, False, id="workers in words"),
        pytest.param({"workers": 4, "note": "why", "verification": "decode", "approval": "required"}, True, id="more"),
        pytest.param({"verification": "none"}, False, id="unknown verification"),
        pytest.param({"approval": "maybe"}, False, id="unknown approval"),
        pytest.param({"note": "x" * 1001}, False, id="a novel for a note"),
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
import json, runpy, sys
import airflow.sdk, airflow.providers.apache.beam.operators.beam
import airflow.providers.smtp.notifications.smtp, airflow.providers.standard.operators.hitl
runpy.run_path("dags/dataset_refresh.py")
print(json.dumps(sorted(sys.modules)))
"""


def test_parsing_loads_nothing_heavy(tmp_path):
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
    modules = json.loads(output.splitlines()[-1])
    heavy = {"apache_beam", "tensorflow", "numpy", "PIL", "obstore", "pyarrow", "beam_jobs.convert_images"}
    assert not heavy & set(modules)
    assert "imagemill_airflow.operators" in modules
