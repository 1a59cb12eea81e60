"""Where the links of a conversion lead."""

import pytest

from tests.support.airflow_home import HOME

from imagemill_airflow.dataflow.api import JobPlace  # isort: skip  (after its settings)
from imagemill_airflow.links import LINKS, folder_page, job_page, object_page  # isort: skip


@pytest.mark.parametrize(
    ("uri", "folder", "page"),
    [
        ("gs://b/x/", "https://console.cloud.google.com/storage/browser/b/x", "https://storage.cloud.google.com/b/x/"),
        ("/data/x y", "file:///data/x%20y", "file:///data/x%20y"),
        ("file:///data/x", "file:///data/x", "file:///data/x"),
        ("s3://b/x", "s3://b/x", "s3://b/x"),
    ],
)
def test_each_place_has_a_page(uri, folder, page):
    assert (folder_page(uri), object_page(uri)) == (folder, page)


def test_the_jobs_page_names_region_job_and_project():
    place = JobPlace(project="p", region="r")
    assert job_page(place, "2026_1") == "https://console.cloud.google.com/dataflow/jobs/r/2026_1?project=p"


def test_every_link_has_a_name_and_a_key_of_its_own():
    assert [link.name for link in LINKS] == ["Dataflow job", "Staging", "Output", "Report"]
    assert len({link.xcom_key for link in LINKS}) == len(LINKS)
    assert HOME.is_dir()
