"""A conversion on Dataflow from submission to manifest: executed by workers that have only what the job shipped."""

from __future__ import annotations

import pytest

from imagemill.catalog import read_manifest
from imagemill.storage import open_store
from imagemill.version.run_record import read_run
from tests.dataflow.conftest import BUCKET, ELSEWHERE, left_running
from tests.support.dataflow.troubles import CPU_QUOTA, NO_MACHINES, PREEMPTED, ApiTrouble, JobTrouble
from tests.support.gcs.faults import Rule


@pytest.mark.parametrize("deferrable", [False, True], ids=["waiting", "deferred"])
def test_a_version_is_converted_once(standin, conversion, deferrable):
    version = conversion()
    standin.trouble(ApiTrouble(method="get", times=2), ApiTrouble(method="metrics", status=0))
    process = version.start(deferrable=deferrable)
    ended = version.outcome(process)
    (job,) = version.jobs()
    uri = version.plan["version_uri"]
    converted = {"version": version.plan["version"], "version_uri": uri, "converted": True}
    assert ended == {"result": converted | {"dataflow_job_id": job["id"]}}, version.log[-3000:]
    assert job["name"] == f"imagemill-{version.name.replace('_', '-')}-{version.plan['version'].lower()}-tfrecord"
    assert read_manifest(uri).records == 50
    record = read_run(open_store(uri))
    assert (record.job.runner, record.job.id) == ("dataflow", job["id"])
    assert left_running(process) == []
    assert version.state["dataflow_job_id"] == job["id"]
    progress = version.state["progress"]
    assert progress["bytes"] > 0
    counts = {"rows": 50, "of_rows": 50, "records": 50, "rejected": 0, "duplicates": 0, "shards": 3, "of_shards": 3}
    assert progress == counts | {"bytes": progress["bytes"]}
    assert "3 of 3 shards, 50 records" in version.log
    console = "https://console.cloud.google.com"
    assert version.xcom == {
        "link_staging": f"{console}/storage/browser/{BUCKET}/staging/{version.name}",
        "link_output": f"{console}/storage/browser/{uri.removeprefix('gs://')}",
        "link_report": f"https://storage.cloud.google.com/{uri.removeprefix('gs://')}/validation.html",
        "link_dataflow_job": f"{console}/dataflow/jobs/us-central1/{job['id']}?project=demo",
        "dataflow_job_id": job["id"],
    }
    again = version.run()
    assert again == {"result": converted | {"converted": False}}
    assert version.states() == ["DONE"]


EVERYTHING = {
    "staging_location": f"gs://{BUCKET}/staged",
    "zone": "us-central1-c",
    "service_account": "workers@demo.iam.gserviceaccount.com",
    "network": "vpc",
    "subnetwork": "regions/us-central1/subnetworks/inner",
    "public_ips": False,
    "machine_type": "n2-standard-4",
    "disk_gb": 40,
    "num_workers": 2,
    "max_num_workers": 8,
    "autoscaling": "none",
    "labels": {"team": "vision"},
    "worker_image": "gcr.io/demo/imagemill:1",
    "experiments": ["shuffle_mode=service"],
    "service_options": ["enable_prime"],
}


def test_what_the_spec_says_reaches_dataflow_and_a_quota_of_zero_ends_the_run(standin, conversion):
    version = conversion(**EVERYTHING)
    standin.trouble(JobTrouble(message=CPU_QUOTA))
    ended = version.run()
    assert (ended["family"], len(ended["message"].splitlines())) == ("caller", 2), ended
    assert "the quota is zero: CPUS; ask for quota in that region" in ended["message"]
    assert "Limit: 0.0 in region us-central1" in ended["message"]
    (job,) = version.jobs()
    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert environment["serviceAccountEmail"] == EVERYTHING["service_account"]
    assert environment["workerZone"] == "us-central1-c"
    assert "shuffle_mode=service" in environment["experiments"]
    assert (pool["machineType"], pool["diskSizeGb"], pool["numWorkers"]) == ("n2-standard-4", 40, 2)
    assert (pool["network"], pool["subnetwork"]) == ("vpc", EVERYTHING["subnetwork"])
    assert (pool["ipConfiguration"], pool["autoscalingSettings"]["maxNumWorkers"]) in (
        ("WORKER_IP_PRIVATE", 8),
        (2, 8),
    )
    assert pool["autoscalingSettings"]["algorithm"] in ("AUTOSCALING_ALGORITHM_NONE", 1)
    assert pool["sdkHarnessContainerImages"][0]["containerImage"] == "gcr.io/demo/imagemill:1"
    staged = [package["location"] for package in pool["packages"]]
    assert all(location.startswith(f"storage.googleapis.com/{BUCKET}/staged/") for location in staged)
    assert not any(location.endswith(".whl") for location in staged)
    assert job["options"]["dataflow_service_options"] == ["enable_prime", "max_workflow_runtime_walltime_seconds=3600"]
    labels = job["labels"]
    assert labels["team"] == "vision"
    assert labels["imagemill-dataset"] == version.name
    assert labels["imagemill-version"] == version.plan["version"].lower()


USED_UP = CPU_QUOTA.replace("Limit: 0.0", "Limit: 24.0")
DENIED = "Permission 'storage.objects.create' denied on resource: workers lack access."


@pytest.mark.parametrize(
    ("message", "family", "said"),
    [
        pytest.param(USED_UP, "temporary", "the quota is used up: CPUS", id="quota"),
        pytest.param(NO_MACHINES, "temporary", "no machines free", id="no machines"),
        pytest.param(DENIED, "caller", "a permission is missing", id="permission"),
        pytest.param("KeyError: 'x'", "bug", "crashed; it said:\nWorkflow failed. Causes: KeyError: 'x'", id="bug"),
    ],
)
def test_a_job_that_fails_says_why_in_its_own_words(standin, conversion, message, family, said):
    version = conversion(worker_image="gcr.io/demo/imagemill:1")
    standin.trouble(JobTrouble(message=message))
    ended = version.run()
    assert ended["family"] == family
    assert said in ended["message"]
    assert version.jobs()[0]["id"] in ended["message"]
    assert "Workflow failed. Causes: " in ended["message"]


def test_workers_without_the_package(conversion):
    version = conversion(worker_image="gcr.io/demo/without-imagemill:1")
    ended = version.run()
    assert ended["family"] == "caller"
    assert "a package is missing on the workers: " in ended["message"]
    assert "conversion.dataflow.worker_wheel" in ended["message"]


def test_bad_data_ends_the_run(conversion):
    from imagemill.storage import open_store

    version = conversion()
    staging = open_store(version.spec.locations.staging)
    staging.write("index.csv", staging.read("index.csv").replace(b",train", b",test", 1))
    ended = version.run()
    assert ended["family"] == "data", ended
    assert "index" in ended["message"]
    assert "Traceback" not in ended["message"]


def test_workers_that_may_not_read_the_images(standin, conversion):
    version = conversion()
    standin.gcs.strike(
        Rule(kind="status", status=403, reason="forbidden", operation="read", name=f"{version.name}/images/", times=-1)
    )
    ended = version.run()
    assert ended["family"] == "caller", ended
    assert "roles/storage" in ended["message"]


def test_preempted_workers_are_replaced_by_another_try(standin, conversion):
    version = conversion()
    standin.trouble(JobTrouble(message=PREEMPTED, runs_first=True))
    # It would be done before anybody could take its workers away.
    standin.gcs.strike(Rule(kind="status", status=503, operation="upload", name="manifest.json$", times=-1))
    first = version.run()
    standin.gcs.strike()
    assert first["family"] == "temporary"
    assert "the workers were lost" in first["message"]
    assert version.run()["result"]["converted"]
    assert version.states() == ["FAILED", "DONE"]
    assert standin.most_live(version.jobs()[0]["name"]) == 1


# --- before a job is paid for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param(
            {"project": "other"},
            "no permission for Dataflow in the project 'other': (3f1e): Permission 'dataflow.jobs.list' denied on "
            "project: 'other'; grant the launching account roles/dataflow.developer",
            id="project",
        ),
        pytest.param({"region": "mars-north1"}, "refuses the region 'mars-north1'", id="region"),
        pytest.param({"temp_location": "gs://nowhere/temp"}, "gcloud storage buckets create gs://nowhere", id="bucket"),
        pytest.param({"worker_wheel": f"gs://{BUCKET}/no.whl"}, "there is no worker wheel at", id="no wheel"),
        pytest.param({"worker_wheel": "/no/imagemill.whl"}, "there is no worker wheel at", id="no local wheel"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(conversion, settings, said):
    version = conversion(**settings)
    ended = version.run()
    assert ended["family"] == "caller"
    assert said in ended["message"]
    assert "\n" not in ended["message"]
    assert version.jobs() == []


def test_a_wheel_of_another_project_is_refused(conversion, standin):
    import io
    import zipfile

    from imagemill.storage import open_store

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("imagemill/__init__.py", "")
    open_store(f"gs://{BUCKET}/wheels").write("half.whl", content.getvalue())
    open_store(f"gs://{BUCKET}/wheels").write("text.whl", b"no zip")
    half = conversion(1, worker_wheel=f"gs://{BUCKET}/wheels/half.whl").run()
    assert "lacks beam_jobs; make it by `python -m imagemill.worker_wheel FOLDER`" in half["message"]
    text = conversion(2, worker_wheel=f"gs://{BUCKET}/wheels/text.whl").run()
    assert "is not a wheel" in text["message"]


def test_a_bucket_in_another_region_is_told_and_hinders_nothing(standin, conversion):
    version = conversion(region="europe-west1", worker_image="gcr.io/demo/imagemill:1")
    standin.trouble(JobTrouble(message=CPU_QUOTA))
    version.run()
    assert len(version.jobs()) == 1
    assert f"the bucket gs://{BUCKET} is in US-CENTRAL1 and the job runs in europe-west1" in version.log
    assert ELSEWHERE not in version.log
