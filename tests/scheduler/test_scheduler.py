"""Refreshes through Airflow's own scheduler, API server and processes, with real mail, webhooks and StatsD.

One Airflow serves all tests; each has datasets of its own.
"""

from __future__ import annotations

import json

import pytest

from imagemill.catalog import Catalog
from imagemill.version.run_record import RunRecord
from tests.support.receivers import hook, inbox, statsd
from tests.support.refresh_tasks import PUBLISHED, TASKS, UNCHANGED
from tests.support.scheduler import airflow_stack

SPEC = """
name: {name}
source: {{type: shapes, train: 40, test: 10}}
splits: {{names: [train, test]}}
conversion: {{shards: {{count: {{train: 2, test: 1}}}}}}
validation: {{sample: 20}}
alerts:
  email: [ann@example.org]
  webhook_conn_id: hook
  events: [failure, rejected, recovery, stale, approval, publication]
{more}
"""

OPERATORS = "operators@example.org"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def mail():
    with inbox() as server:
        yield server


@pytest.fixture(scope="module")
def web():
    with hook() as server:
        yield server


@pytest.fixture(scope="module")
def metrics():
    with statsd() as server:
        yield server


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, mail, web, metrics):
    settings = {
        "AIRFLOW_CONN_SMTP_DEFAULT": mail.connection,
        "AIRFLOW_CONN_HOOK": f"{web.url}/hook",
        "IMAGEMILL_ALERT_EMAIL": OPERATORS,
    }
    with airflow_stack(tmp_path_factory.mktemp("airflow"), settings | metrics.settings) as stack:
        yield stack


def spec(name, *, more=""):
    return SPEC.format(name=name, more=more)


def current(airflow, name):
    return Catalog(str(airflow.home / "datasets" / name)).current()


def record(airflow, name, version):
    path = airflow.home / "datasets" / name / "versions" / version / "run.json"
    return RunRecord.model_validate_json(path.read_bytes())


def told(airflow, web, name, *events):
    """Waits until the webhook has heard these events of a dataset, in this order, and returns its documents."""

    def heard():
        return [post.body for post in web.posts if post.body["dataset"] == name]

    airflow.wait(lambda: len(heard()) >= len(events), f"{events} to be told of {name}")
    assert [document["event"] for document in heard()] == list(events)
    return heard()


def test_a_schedule_starts_one_run_and_does_not_catch_up(airflow, web, mail):
    dag_id = airflow.spec("daily", spec("daily", more='schedule: "@daily"'))
    airflow.wait(lambda: bool(airflow.runs(dag_id)), "the scheduled run")
    (run,) = airflow.runs(dag_id)
    assert run["run_type"] == "scheduled"
    assert airflow.finished(dag_id, run["dag_run_id"]) == "success"
    assert airflow.states(dag_id, run["dag_run_id"]) == PUBLISHED
    (published,) = told(airflow, web, "daily", "publication")
    assert published["path"] == current(airflow, "daily").uri
    assert len(airflow.runs(dag_id)) == 1
    airflow.wait(lambda: any("daily" in message["subject"] for message in mail.messages), "the mail")


@pytest.fixture(scope="module")
def dots(airflow):
    """A dataset that was published by a run which a person triggered through the REST API."""
    dag_id = airflow.spec("dots", spec("dots"))
    airflow.unpause("example_consumer")
    run_id = airflow.trigger(dag_id, user="bob", note="the first one", workers=2, force=True)
    assert airflow.finished(dag_id, run_id) == "success"
    return dag_id, run_id


def test_a_run_of_the_rest_api_publishes_and_keeps_who_and_why(airflow, dots):
    dag_id, run_id = dots
    assert airflow.states(dag_id, run_id) == PUBLISHED
    published = airflow.result(dag_id, run_id, "publish")
    kept = record(airflow, "dots", published["version"])
    assert (kept.requested_by, kept.note) == ("bob", "the first one")
    assert kept.spec["validation"]["sample"] == 20
    assert "alerts" not in kept.spec
    (entry,) = Catalog(str(airflow.home / "datasets" / "dots")).history()
    assert (entry.by, entry.reason, entry.run) == ("bob", "the first one", f"{dag_id} {run_id}")


def test_a_consumer_reads_exactly_what_the_event_names(airflow, dots):
    dag_id, run_id = dots
    published = airflow.result(dag_id, run_id, "publish")
    facts = {name: published[name] for name in ("version", "path", "rows", "fingerprint")}
    airflow.wait(lambda: bool(airflow.runs("example_consumer")), "the consumer's run")

    def read():
        ended = [run["dag_run_id"] for run in airflow.runs("example_consumer") if run["state"] == "success"]
        return [each for run in ended for each in airflow.result("example_consumer", run, "read_publications")]

    airflow.wait(lambda: any(each["dataset"] == "dots" for each in read()), "the consumer to read dots")
    (seen,) = [each for each in read() if each["dataset"] == "dots"]
    assert seen == {"dataset": "dots", "records": 50} | facts


def test_the_progress_is_in_the_log_and_beside_the_task(airflow, dots):
    dag_id, run_id = dots
    assert "3 of 3 shards, 50 records" in airflow.log(dag_id, run_id, "convert_images")
    progress = airflow.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/convert_images/state-store/progress")["value"]
    assert (progress["shards"], progress["of_shards"], progress["records"]) == (3, 3, 50)


def test_numbers_reach_statsd(airflow, dots, metrics):
    airflow.wait(lambda: any("imagemill.dots.prune_ms" in line for line in metrics.lines), "the metrics")
    for line in ("rows:50|g", "records:50|g", "rejected:0|g", "shards:3|g", "version_age_seconds:0|g"):
        assert f"airflow.imagemill.dots.{line}" in metrics.lines
    timed = {line.split(":")[0] for line in metrics.lines if line.endswith("|ms")}
    assert {
        f"airflow.imagemill.dots.{step}_ms" for step in ("prepare", "upload", "plan", "convert", "validate")
    } <= timed


def test_every_task_of_a_finished_run_can_be_cleared_and_changes_nothing(airflow, dots):
    dag_id, run_id = dots
    folder = airflow.home / "datasets" / "dots"

    def data():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def changed():
        after = data()
        return [str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)]

    def events():
        found = airflow.get(f"assets/events?source_dag_id={dag_id}")["asset_events"]
        return [event["extra"]["version"] for event in found]

    before = data()
    for task in reversed([task for task in TASKS if task != "approve"]):
        airflow.clear(dag_id, run_id, task)
        assert airflow.finished(dag_id, run_id) == "success", task
        assert airflow.tasks(dag_id, run_id)[task]["try_number"] == 2
        assert airflow.states(dag_id, run_id) == PUBLISHED
        assert changed() == [], task
    airflow.clear(dag_id, run_id)
    assert airflow.finished(dag_id, run_id) == "success"
    assert changed() == []
    assert events() == [airflow.result(dag_id, run_id, "publish")["version"]]


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        pytest.param({"limit": "ten"}, "Invalid input for param limit: 'ten' is not of type 'integer'", id="type"),
        pytest.param({"runner": "spark"}, "'spark' is not one of", id="enum"),
        pytest.param({"shards": 0}, "0 is less than the minimum of 1", id="limit"),
    ],
)
def test_the_api_refuses_what_the_form_would_refuse(airflow, dots, conf, said):
    refused = airflow.api("POST", f"dags/{dots[0]}/dagRuns", {"logical_date": None, "conf": conf})
    assert refused.status_code == 400
    assert said in refused.json()["detail"]


def test_an_unknown_parameter_and_a_cured_run_are_told(airflow, web):
    dag_id = airflow.spec("typo", spec("typo"))
    failed = airflow.trigger(dag_id, forse=True)
    assert airflow.finished(dag_id, failed) == "failed"
    assert "triggered with 'forse', which this DAG does not know" in airflow.log(dag_id, failed, "prepare_images")
    (failure,) = told(airflow, web, "typo", "failure")
    assert (failure["task"], failure["tries"]) == ("prepare_images", 1)
    assert "nothing: this dataset was never published" in failure["text"]
    assert airflow.finished(dag_id, airflow.trigger(dag_id)) == "success"
    *_, recovery = told(airflow, web, "typo", "failure", "publication", "recovery")
    assert "prepare_images failed: this run was triggered with 'forse'" in recovery["text"]
    assert airflow.finished(dag_id, airflow.trigger(dag_id)) == "success"
    told(airflow, web, "typo", "failure", "publication", "recovery")


def test_two_triggers_at_once_queue_and_the_second_finds_nothing_to_do(airflow):
    dag_id = airflow.spec("twice", spec("twice"))
    first, second = airflow.trigger(dag_id), airflow.trigger(dag_id)

    def both_ended():
        return all(airflow.run(dag_id, run)["state"] in ("success", "failed") for run in (first, second))

    airflow.wait(both_ended, "both runs to end", seconds=400)
    runs = [airflow.run(dag_id, run) for run in (first, second)]
    earlier, later = sorted(runs, key=lambda run: run["start_date"])
    assert later["start_date"] >= earlier["end_date"]
    assert airflow.states(dag_id, first) == PUBLISHED
    assert airflow.states(dag_id, second) == UNCHANGED


def test_a_rejected_candidate_is_told_with_the_checks_reason(airflow, web):
    dag_id = airflow.spec("picky", spec("picky").replace("{sample: 20}", "{sample: 20, min_records_per_label: 999}"))
    run_id = airflow.trigger(dag_id)
    assert airflow.finished(dag_id, run_id) == "failed"
    (rejected,) = told(airflow, web, "picky", "rejected")
    assert "rejected by validation" in rejected["title"]
    assert "expected" in rejected["body"]
    assert rejected["links"]["Report"].endswith("validation.html")
    assert current(airflow, "picky") is None


def asked(airflow, dag_id, run_id):
    """Waits until the run waits for a person, and returns what it asks."""
    # The scheduler takes an answer that comes before it has seen the asking process end for a process that was lost.
    ended = ("TaskInstance Finished", run_id, "task_id=approve", "state=awaiting_input")
    airflow.wait(lambda: airflow.logged("scheduler", *ended), "the question", seconds=120)
    return airflow.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails")


def answer(airflow, dag_id, run_id, option, reason):
    path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    body = {"chosen_options": [option], "params_input": {"reason": reason}}
    airflow.api("PATCH", path, body).raise_for_status()


@pytest.fixture(scope="module")
def refused(airflow):
    """A version that a person has refused."""
    dag_id = airflow.spec("asked", spec("asked", more="approval: required"))
    run_id = airflow.trigger(dag_id, note="new drawings")
    question = asked(airflow, dag_id, run_id)
    for words in ("checks passed", "nothing is published yet", "validation.html", "new drawings"):
        assert words in question["body"]
    assert current(airflow, "asked") is None
    answer(airflow, dag_id, run_id, "Reject", "too few circles")
    assert airflow.finished(dag_id, run_id) == "success"
    return dag_id, run_id


def test_a_refused_version_is_not_published_and_keeps_the_reason(airflow, web, refused):
    assert airflow.states(*refused)["publish"] == "skipped"
    _, told_of = told(airflow, web, "asked", "approval", "rejected")
    assert "refused by ann" in told_of["title"]
    assert "too few circles" in told_of["body"]
    kept = record(airflow, "asked", told_of["version"]).approval
    assert (kept.verdict, kept.by, kept.reason) == ("rejected", "ann", "too few circles")
    assert current(airflow, "asked") is None


def test_a_run_goes_on_as_it_began_when_its_spec_changes_before_the_approval(airflow, web, refused):
    dag_id, _ = refused
    run_id = airflow.trigger(dag_id)
    assert "too few circles" in asked(airflow, dag_id, run_id)["body"]
    moved = spec("asked", more=f"locations: {{output: {airflow.home}/elsewhere}}").replace("sample: 20", "sample: 7")
    airflow.write_spec("asked", moved)
    answer(airflow, dag_id, run_id, "Approve", "enough after all")
    assert airflow.finished(dag_id, run_id) == "success"
    published = current(airflow, "asked")
    assert airflow.result(dag_id, run_id, "publish")["path"] == published.uri
    assert not (airflow.home / "elsewhere").exists()
    kept = record(airflow, "asked", published.version)
    assert (kept.approval.verdict, kept.spec["approval"]) == ("approved", "required")
    assert kept.spec["validation"]["sample"] == 20
    (entry,) = Catalog(str(airflow.home / "datasets" / "asked")).history()
    assert (entry.by, entry.reason) == ("ann", "enough after all")
    told(airflow, web, "asked", "approval", "rejected", "approval", "publication", "recovery")


def test_a_run_goes_on_as_it_began_when_its_spec_comes_to_want_a_runner_and_an_approval(airflow):
    """Its trigger has said nothing of the runner: Airflow takes the form's default anew for each task."""
    dag_id = airflow.spec("moved", spec("moved"))
    run_id = airflow.trigger(dag_id, approval="none", limit=15)
    assert airflow.finished(dag_id, run_id, seconds=300) == "success"
    version = airflow.result(dag_id, run_id, "plan_conversion")["version"]
    (
        airflow.home / "datasets" / "moved" / "versions" / version / "manifest.json"
    ).unlink()  # so that it is converted again
    nowhere = "approval: required\nconversion: {runner: portable, runner_options: {job_endpoint: 'nowhere.invalid:1'}}"
    edited = "\n".join(line for line in spec("moved").splitlines() if not line.startswith("conversion:"))
    airflow.spec("moved", f"{edited}\n{nowhere}")
    airflow.clear(dag_id, run_id, "convert_images", "validate_records", "approve")
    assert airflow.finished(dag_id, run_id, seconds=300) == "success"
    assert airflow.result(dag_id, run_id, "convert_images")["converted"]
    assert airflow.states(dag_id, run_id)["approve"] == "skipped"
    for task in ("convert_images", "validate_records"):
        log = airflow.log(dag_id, run_id, task, 2)
        assert 'conversion.runner is "local" here, now "portable"' in log
        assert 'approval is "none" here, now "required"' in log


def test_an_approval_times_out(airflow, web):
    dag_id = airflow.spec("late", spec("late", more="approval: required\napproval_hours: 0.005"))
    run_id = airflow.trigger(dag_id)
    # A time that is up before the scheduler has seen the asking process end is, like an early answer, asked for twice.
    asked(airflow, dag_id, run_id)
    assert airflow.finished(dag_id, run_id) == "failed"
    _, late = told(airflow, web, "late", "approval", "rejected")
    assert "not approved in time" in late["title"]
    assert record(airflow, "late", late["version"]).approval.verdict == "timed out"
    assert current(airflow, "late") is None


def test_a_dataset_without_a_new_version_is_told_once(airflow, web, dots):
    airflow.spec("dots", spec("dots").replace("alerts:\n", "alerts:\n  stale_after_days: 0.000001\n"))
    airflow.wait(lambda: airflow.api("GET", "dags/watch_freshness").status_code == 200, "the watch")
    for _ in range(2):
        assert airflow.finished("watch_freshness", airflow.trigger("watch_freshness")) == "success"
    documents = [post.body for post in web.posts if post.body["dataset"] == "dots"]
    (stale,) = [document for document in documents if document["event"] == "stale"]
    assert stale["title"] == "[imagemill] dots: no new version for 0 days"
    assert current(airflow, "dots").version in stale["text"]


def test_a_broken_spec_is_told_once_and_its_mending_too(airflow, mail, web):
    airflow.spec("torn", spec("torn"))
    airflow.write_spec("torn", spec("torn").replace("splits:", "slits:"))
    airflow.wait(lambda: "torn.yaml" in watched(airflow), "the watch over the broken spec")
    for _ in range(2):
        assert airflow.finished("watch_freshness", airflow.trigger("watch_freshness")) == "failed"
    (broken,) = [message for message in mail.messages if message["to"] == OPERATORS]
    assert broken["subject"].startswith("[imagemill] torn: torn.yaml is broken")
    assert "Did you mean `splits`?" in broken.get_body().get_content()
    airflow.spec("torn", spec("torn"))
    airflow.wait(lambda: "torn" in watched(airflow), "the watch over the mended spec")
    assert airflow.finished("watch_freshness", airflow.trigger("watch_freshness")) == "success"
    (recovery,) = told(airflow, web, "torn", "recovery")
    assert "torn.yaml is broken" in recovery["text"]
    mail.messages.remove(broken)  # nobody's webhook hears of it


def watched(airflow):
    return {task["task_id"] for task in airflow.get("dags/watch_freshness/tasks")["tasks"]}


def test_nothing_was_told_that_is_not_json_and_mailed_too(airflow, web, mail):
    mailed = {message["subject"] for message in mail.messages}
    assert {post.body["title"] for post in web.posts} == mailed
    assert all(json.dumps(post.body) for post in web.posts)
