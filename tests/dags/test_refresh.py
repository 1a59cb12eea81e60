"""Whole refreshes through the real DAG: what is published, what is left alone, and what a failure says.

The runs share one Airflow and one process; each goes on where the one before
it ended.
"""

import io
import json

import pytest

from tests.support.airflow_home import HOME, ROOT, SETTINGS, SPECS
from tests.support.refresh_tasks import PUBLISHED, REHEARSED, UNCHANGED

from imagemill_airflow.local_airflow import load_dag, migrate  # isort: skip  (after its settings)
from imagemill_airflow.local_run import run_dag  # isort: skip
from imagemill.catalog import Catalog
from imagemill.storage import open_store
from imagemill.version.run_record import read_run

SPEC = """
name: dots
source: {type: shapes, train: 40, test: 10}
splits: {names: [train, test]}
conversion: {shards: {count: {train: 2, test: 1}}}
validation: {sample: 20}
"""


@pytest.fixture(scope="module")
def airflow():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        (SPECS / "dots.yaml").write_text(SPEC)
        migrate(HOME / "airflow-local")
        yield
        (SPECS / "dots.yaml").unlink()


@pytest.fixture(scope="module")
def refresh(airflow):
    def run(**conf):
        terminal = io.StringIO()
        dag = load_dag(ROOT / "dags" / "dataset_refresh.py", "refresh_dots")
        summary = run_dag(dag, conf, approve=False, terminal=terminal)
        return summary | {"said": terminal.getvalue()}

    return run


@pytest.fixture(scope="module")
def first(refresh):
    return refresh()


def states(summary):
    return {task["task"]: task["state"] for task in summary["tasks"]}


def current():
    return Catalog(str(HOME / "datasets" / "dots")).current()


def test_a_refresh_publishes(first):
    assert (first["state"], first["exit_code"], first["failure"]) == ("success", 0, None)
    assert states(first) == PUBLISHED
    published = first["results"]["publish"]
    assert (published["rows"], published["records"], published["rejected"]) == (50, 50, 0)
    assert published["path"] == current().uri


def test_the_record_of_a_version_names_the_job_that_converted_it(first):
    record = read_run(open_store(first["results"]["publish"]["path"]))
    assert record.job.runner == "local"
    assert record.job.seconds > 0


def test_what_tasks_hand_on_is_small_and_plain(first):
    assert len(json.dumps(first["results"])) < 5_000


def test_an_asset_event_tells_what_was_published(first):
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        (event,) = session.query(AssetEvent).all()
        assert event.asset.name == "dots"
        published = first["results"]["publish"]
        assert event.extra == {name: published[name] for name in ("version", "path", "rows", "fingerprint")}


def test_unchanged_input_ends_the_run_early_and_green(first, refresh):
    before = current()
    again = refresh()
    assert again["state"] == "success"
    assert states(again) == UNCHANGED
    assert "nothing changed" in again["results"]["plan_conversion"]["reason"]
    assert "nothing changed" in again["said"]
    assert current() == before


def test_a_forced_rehearsal_is_validated_and_never_published(first, refresh):
    before = current()
    rehearsal = refresh(force=True, limit=15)
    assert rehearsal["state"] == "success"
    assert states(rehearsal) == REHEARSED
    assert rehearsal["results"]["validate_records"]["records"] == 15
    assert rehearsal["results"]["validate_records"]["shards"] == 2
    assert "never published" in rehearsal["said"]
    assert current() == before


def test_other_shards_can_be_asked_for(first, refresh):
    assert refresh(shards=3)["results"]["validate_records"]["shards"] == 6


def test_unusable_data_fails_at_once_and_names_its_family(first, refresh):
    pointer = HOME / "datasets" / "dots" / "CURRENT"
    published = pointer.read_bytes()
    pointer.write_bytes(b"torn")
    failed = refresh()
    pointer.write_bytes(published)
    assert (failed["state"], failed["exit_code"]) == ("failed", 1)
    assert failed["failure"]["task"] == "plan_conversion"
    assert failed["failure"]["family"] == "data"
    assert "tried again" not in failed["said"]


def test_a_callers_mistake_fails_at_once_and_names_its_family(first, refresh):
    before = current()
    (SPECS / "dots.yaml").write_text(f"name: dots\nsource: {{type: folder, root: {HOME}/none}}\n")
    failed = refresh()
    (SPECS / "dots.yaml").write_text(SPEC)
    assert (failed["state"], failed["exit_code"]) == ("failed", 2)
    assert failed["failure"]["task"] == "prepare_images"
    assert failed["failure"]["family"] == "caller"
    assert f"{HOME}/none" in failed["failure"]["message"]
    assert current() == before
