"""What the conversion's operator decides before it starts a job."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.airflow_home import HOME

from airflow.providers.apache.beam.operators.beam import BeamRunPythonPipelineOperator  # isort: skip  (after its settings)
from imagemill.errors import UnusableData
from imagemill.spec import DatasetSpec
from imagemill_airflow.operators import ConvertImagesOperator
from imagemill_airflow.run_settings import KEY
from imagemill_airflow.trigger_form import trigger_form

CLOUD = {"project": "demo", "region": "us-central1", "temp_location": "gs://mill/temp", "deferrable": True}


def spec(folder, **conversion):
    return DatasetSpec.model_validate(
        {
            "name": "dots",
            "source": {"type": "shapes"},
            "splits": {"names": ["train", "test"]},
            "conversion": conversion,
            "locations": {"staging": f"{folder}/staging", "output": f"{folder}/dots", "work": f"{folder}/work"},
        }
    )


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    """In the place of the job comes an error that names its runner."""

    def execute(self, _context):
        raise UnusableData(self.runner)

    monkeypatch.setattr(BeamRunPythonPipelineOperator, "execute", execute)
    assert HOME.is_dir()


def test_a_spec_that_is_edited_in_the_middle_of_a_run_changes_no_runner(tmp_path):
    began = spec(tmp_path, runner="local", dataflow=CLOUD)
    edited = spec(tmp_path, runner="prism", runner_options={"prism_location": "/opt/prism"}, dataflow=CLOUD)
    left = {KEY: began.model_dump(mode="json")}
    context = {
        "ti": SimpleNamespace(
            dag_id="refresh_dots",
            run_id="one",
            task_id="convert_images",
            map_index=-1,
            xcom_push=lambda **_: None,
            xcom_pull=lambda *, task_ids, key: left.get(key),
        ),
        "task_state_store": SimpleNamespace(set=lambda *_: None),
        # Where the trigger named no runner, Airflow takes the form's default anew for each task.
        "params": {name: param.resolve() for name, param in trigger_form(edited).items()},
    }
    plan = {
        "action": "convert",
        "version": "20260301T030000Z-1f2e3d4c",
        "version_uri": f"{tmp_path}/dots/versions/20260301T030000Z-1f2e3d4c",
        "rows": 0,
        "shards": {"train": 1},
    }
    operator = ConvertImagesOperator(task_id="convert_images", spec=edited, plan=plan)
    with pytest.raises(UnusableData, match=r"^FnApiRunner$"):
        operator.execute(context)
