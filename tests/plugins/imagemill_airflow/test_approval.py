"""Of which versions a person is asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.airflow_home import HOME

from airflow.sdk.exceptions import AirflowSkipException  # isort: skip  (after its settings)
from imagemill.catalog import Catalog, CurrentVersion
from imagemill.spec import DatasetSpec
from imagemill_airflow.approval import ApprovePublicationOperator
from imagemill_airflow.run_settings import KEY
from imagemill_airflow.trigger_form import trigger_form

VERSION = "20260301T030000Z-1f2e3d4c"


def test_of_the_published_version_nobody_is_asked_again(tmp_path, monkeypatch):
    """Clearing the task of a finished run would else let a Reject write `rejected` into what training reads."""
    spec = DatasetSpec.model_validate(
        {
            "name": "pets",
            "source": {"type": "folder", "root": "/images"},
            "locations": {"staging": f"{tmp_path}/s", "output": f"{tmp_path}/o", "work": f"{tmp_path}/w"},
            "approval": "required",
        }
    )
    plan = {"version": VERSION, "version_uri": f"{tmp_path}/o/versions/{VERSION}", "limited": False}
    served = CurrentVersion(version=VERSION, uri=plan["version_uri"], manifest_sha256="0" * 64)
    monkeypatch.setattr(Catalog, "current", lambda _: served)
    monkeypatch.setenv("IMAGEMILL_GCP_CONN_ID", "")
    left = {KEY: spec.model_dump(mode="json")}
    form = {name: param.resolve() for name, param in trigger_form(spec).items()}
    context = {"ti": SimpleNamespace(xcom_pull=lambda *, task_ids, key: left[key]), "params": form}
    operator = ApprovePublicationOperator(task_id="approve", spec=spec, plan=plan, validated={})
    with pytest.raises(AirflowSkipException, match="is published; nobody is asked again"):
        operator.execute(context)
    assert HOME.is_dir()
