"""Deaths that only a whole Airflow can die, and tasks that a person stops, while jobs run on Dataflow.

All runs start at once, each with a dataset of its own and a job that is held.
"""

from __future__ import annotations

import pytest

from imagemill.catalog import Catalog
from tests.support.dataflow.server import dataflow
from tests.support.dataflow.troubles import JobTrouble
from tests.support.gcs.server import emulator
from tests.support.receivers import hook
from tests.support.refresh_tasks import PUBLISHED
from tests.support.scheduler import airflow_stack

BUCKET, TASK = "mill", "convert_images"

SPEC = """
name: {name}
source: {{type: shapes, train: 40, test: 10}}
splits: {{names: [train, test]}}
conversion:
  runner: dataflow
  shards: {{count: {{train: 2, test: 1}}}}
  dataflow:
    project: demo
    region: us-central1
    temp_location: gs://{bucket}/temp
    endpoint: {endpoint}
    poll_seconds: 0.5
    deferrable: {deferrable}
validation: {{sample: 5}}
locations: {{staging: "gs://{bucket}/staging/{name}", output: "gs://{bucket}/datasets/{name}"}}
alerts: {{webhook_conn_id: hook, events: [failure, recovery]}}
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataflow")
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=[BUCKET]) as gcs, dataflow(folder, gcs) as running:
        yield running


@pytest.fixture(scope="module")
def web():
    with hook() as server:
        yield server


@pytest.fixture(scope="module")
def airflow(standin, web, tmp_path_factory):
    variables = {
        # A scheduler looks after the tasks of one that has died as soon as that is certain.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "AIRFLOW_CONN_HOOK": f"{web.url}/hook",
    }
    with airflow_stack(tmp_path_factory.mktemp("airflow"), standin.variables | variables) as stack:
        yield stack


class Run:
    """A run whose first job is held on Dataflow."""

    def __init__(self, airflow, standin, name, *, deferrable):
        self.airflow, self.standin, self.name, self.deferrable = airflow, standin, name, deferrable
        self.job_name = f"imagemill-{name}-"
        text = SPEC.format(name=name, bucket=BUCKET, endpoint=standin.url, deferrable=str(deferrable).lower())
        self.dag = airflow.spec(name, text)
        self.id = airflow.trigger(self.dag)

    def jobs(self):
        return [job["currentState"].removeprefix("JOB_STATE_") for job in self.standin.jobs(self.job_name)]

    def task(self):
        return self.airflow.tasks(self.dag, self.id)[TASK]

    def is_waiting(self):
        """Waits until the job runs, and its task waits for it."""
        self.airflow.wait(lambda: self.jobs() == ["RUNNING"], f"the job of {self.name} to run", seconds=300)
        wanted = "deferred" if self.deferrable else "running"
        self.airflow.wait(lambda: self.task()["state"] == wanted, f"the task of {self.name} to be {wanted}")

    def clear(self):
        self.airflow.clear(self.dag, self.id, TASK)

    def publishes_after(self, *jobs):
        """Waits for the run's end: these jobs there were, one at a time, and training sees the version."""
        assert self.airflow.finished(self.dag, self.id, seconds=300) == "success", self.log()
        assert self.jobs() == list(jobs)
        assert self.standin.most_live(self.job_name) == 1
        assert self.airflow.states(self.dag, self.id) == PUBLISHED
        published = self.airflow.result(self.dag, self.id, "publish")
        assert (published["records"], published["path"]) == (50, self.catalog().current().uri)

    def catalog(self):
        return Catalog(f"gs://{BUCKET}/datasets/{self.name}")

    def log(self):
        tries = range(1, self.task()["try_number"] + 1)
        return "\n".join(self.airflow.log(self.dag, self.id, TASK, attempt) for attempt in tries)


@pytest.fixture(scope="module")
def runs(airflow, standin):
    wanted = {"failed": True, "parked": True, "waiting": False, "away": True, "lost": False}
    standin.trouble(*[JobTrouble(held=True)] * len(wanted))
    started = {name: Run(airflow, standin, name, deferrable=deferrable) for name, deferrable in wanted.items()}
    for run in started.values():
        run.is_waiting()
    return started


@pytest.fixture(autouse=True)
def in_reach(standin, monkeypatch):
    for name, value in standin.variables.items():
        monkeypatch.setenv(name, value)


def test_a_deferred_task_that_a_person_fails_cancels_its_job(airflow, runs):
    run = runs["failed"]
    path = f"dags/{run.dag}/dagRuns/{run.id}/taskInstances/{TASK}"
    airflow.api("PATCH", path, {"new_state": "failed"}).raise_for_status()
    airflow.wait(lambda: run.jobs() == ["CANCELLED"], "the job to be cancelled")
    assert airflow.finished(run.dag, run.id) == "failed"
    assert run.catalog().current() is None


def test_cleared_tasks_cancel_their_jobs_and_submit_others(airflow, runs):
    cleared = runs["parked"], runs["waiting"]
    for run in cleared:
        run.clear()
    for run in cleared:
        run.publishes_after("CANCELLED", "DONE")
        assert run.task()["try_number"] == 2


def test_the_scheduler_and_the_triggerer_die_and_others_go_on_with_the_same_jobs(airflow, standin, web, runs):
    for component in ("scheduler", "triggerer"):
        airflow.kill(component)
    for component in ("scheduler", "triggerer"):
        airflow.start(component)
    airflow.wait(lambda: runs["lost"].task()["try_number"] == 2, "the lost task's second try", seconds=300)
    for name in ("away", "lost"):
        standin.release(runs[name].job_name)
    for name in ("away", "lost"):
        runs[name].publishes_after("DONE")
    assert runs["away"].task()["try_number"] == 1
    assert "this try joins it" in runs["lost"].log()
    # A death that a retry cures is nobody's business.
    assert [post.body["title"] for post in web.posts if post.body["dataset"] in ("away", "lost")] == []
