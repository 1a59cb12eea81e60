"""Whose rights are looked at before a job is paid for."""

from __future__ import annotations

import pytest

from imagemill.spec.dataflow import Dataflow
from imagemill.storage import open_store
from imagemill_airflow.dataflow import checks


@pytest.mark.parametrize(
    "impersonate", [(), ("first@demo.iam.gserviceaccount.com", "last@demo.iam.gserviceaccount.com")]
)
def test_buckets_are_probed_as_the_account_that_stages_the_jobs_files(tmp_path, monkeypatch, impersonate):
    probed = []

    def opened(uri, *, settings):
        probed.append((uri, settings.gcs_impersonate))
        return open_store(str(tmp_path))

    monkeypatch.setattr(checks, "open_store", opened)
    monkeypatch.setattr(checks, "_location", lambda _bucket: None)
    checks.check_buckets(Dataflow(temp_location="gs://mill/temp", impersonate=impersonate), ())
    assert probed == [("gs://mill/temp", impersonate)]
    assert list(tmp_path.iterdir()) == []
