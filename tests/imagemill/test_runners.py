import pytest

from beam_jobs.convert_images import parse_arguments
from imagemill.errors import CallerError
from imagemill.runners import (
    as_arguments,
    beam_runner,
    conversion_options,
    options_said,
    pipeline_options,
    worker_processes,
)
from imagemill.spec import Conversion
from imagemill.spec.contradictions import BEAM_OPTIONS


@pytest.mark.parametrize(
    ("runner", "name"),
    [
        ("local", "FnApiRunner"),
        ("prism", "PrismRunner"),
        ("flink", "PortableRunner"),
        ("portable", "PortableRunner"),
        ("dataflow", "DataflowRunner"),
    ],
)
def test_each_runner_has_a_name_in_beam(runner, name):
    assert beam_runner(runner) == name


def test_an_unknown_runner_is_the_callers_mistake():
    with pytest.raises(CallerError, match="unknown runner 'spark'; choose one of dataflow, flink"):
        beam_runner("spark")


def test_the_specs_options_win_and_none_takes_away():
    assert pipeline_options("local", {"direct_num_workers": 2, "direct_running_mode": None}) == {
        "direct_num_workers": 2
    }


@pytest.mark.parametrize(
    ("runner", "options", "missing", "section"),
    [
        ("prism", {}, "prism_location", "runner_options"),
        ("flink", {}, "job_endpoint", "runner_options"),
        ("portable", {"job_endpoint": ""}, "job_endpoint", "runner_options"),
        ("dataflow", {"region": "europe-west1"}, "project, temp_location", "dataflow"),
    ],
)
def test_what_a_runner_cannot_do_without(runner, options, missing, section):
    with pytest.raises(CallerError, match=f"needs {missing}; add it to conversion.{section} in the spec"):
        pipeline_options(runner, options)


CLOUD = {"project": "my-project", "region": "europe-west1", "temp_location": "gs://bucket/temp"}
BASIC = {
    **CLOUD,
    "staging_location": "gs://bucket/temp",
    "autoscaling_algorithm": "THROUGHPUT_BASED",
}


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ({"staging_location": "gs://other/staging"}, {"staging_location": "gs://other/staging"}),
        ({"zone": "europe-west1-c"}, {"worker_zone": "europe-west1-c"}),
        ({"service_account": "a@b.iam"}, {"service_account_email": "a@b.iam"}),
        ({"impersonate": ["a@b.iam", "c@b.iam"]}, {"impersonate_service_account": "a@b.iam,c@b.iam"}),
        ({"network": "vpc"}, {"network": "vpc"}),
        (
            {"public_ips": False, "subnetwork": "regions/europe-west1/subnetworks/x"},
            {"no_use_public_ips": True, "subnetwork": "regions/europe-west1/subnetworks/x"},
        ),
        ({"machine_type": "n2-standard-4"}, {"machine_type": "n2-standard-4"}),
        ({"disk_gb": 30}, {"disk_size_gb": 30}),
        ({"num_workers": 2, "max_num_workers": 8}, {"num_workers": 2, "max_num_workers": 8}),
        ({"autoscaling": "none"}, {"autoscaling_algorithm": "NONE"}),
        ({"labels": {"team": "vision", "cost": ""}}, {"labels": ["cost=", "team=vision"]}),
        ({"worker_image": "gcr.io/p/imagemill:1"}, {"sdk_container_image": "gcr.io/p/imagemill:1"}),
        ({"worker_wheel": "gs://b/imagemill.whl"}, {"extra_package": ["gs://b/imagemill.whl"]}),
        ({"experiments": ["shuffle_mode=service"]}, {"experiments": ["shuffle_mode=service"]}),
        ({"service_options": ["enable_prime"]}, {"dataflow_service_options": ["enable_prime"]}),
        ({"endpoint": "http://localhost:1"}, {"dataflow_endpoint": "http://localhost:1"}),
    ],
)
def test_each_key_of_dataflow_is_an_option_that_beam_knows(said, option):
    conversion = Conversion(dataflow={**CLOUD, **said})
    options = conversion_options(conversion, "dataflow")
    assert options == {**BASIC, **option}
    assert option.keys() <= BEAM_OPTIONS.keys()
    # The job refuses what Beam does not know.
    assert parse_arguments(["--plan=x", "--runner=DataflowRunner", *as_arguments(options)])


def test_another_runner_gets_nothing_of_dataflow_nor_of_the_specs_own():
    conversion = Conversion(runner="flink", runner_options={"job_endpoint": "x:1"}, dataflow=CLOUD)
    assert conversion_options(conversion, "local") == pipeline_options("local", {})
    assert conversion_options(conversion, "flink")["job_endpoint"] == "x:1"
    assert conversion_options(conversion, "dataflow") == BASIC


def test_an_option_that_is_said_again_is_added_and_a_name_alone_is_a_flag():
    said = options_said(["experiments=a", "save_main_session", "experiments=b=c", "parallelism=2"])
    assert said == {"experiments": ["a", "b=c"], "save_main_session": True, "parallelism": "2"}
    assert as_arguments(said) == ["--experiments=a", "--experiments=b=c", "--parallelism=2", "--save_main_session"]


def test_options_become_arguments():
    options = {"b": True, "a": 2, "off": False, "none": None, "experiments": ["x", "y z"]}
    assert as_arguments(options) == ["--a=2", "--b", "--experiments=x", "--experiments=y z"]


@pytest.mark.parametrize(
    ("rows", "image_bytes", "shards", "cpus", "expected"),
    [
        pytest.param(19_999, 1 << 20, 8, 8, 1, id="small"),
        pytest.param(20_000, 1 << 20, 8, 4, 4, id="many rows"),
        pytest.param(100, 1 << 30, 8, 4, 4, id="many bytes"),
        pytest.param(1_000_000, 1 << 30, 3, 8, 3, id="never more than shards"),
        pytest.param(1_000_000, 1 << 30, 100, 1, 1, id="one core"),
        pytest.param(1_000_000, 0, 0, 8, 1, id="no shard"),
    ],
)
def test_processes_that_pay(rows, image_bytes, shards, cpus, expected):
    assert worker_processes(rows=rows, image_bytes=image_bytes, shards=shards, cpus=cpus) == expected
