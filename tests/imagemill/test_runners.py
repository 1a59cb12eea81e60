import pytest

from imagemill.errors import CallerError
from imagemill.runners import as_arguments, beam_runner, pipeline_options, worker_processes


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
    ("runner", "options", "missing"),
    [
        ("flink", {}, "job_endpoint"),
        ("portable", {"job_endpoint": ""}, "job_endpoint"),
        ("dataflow", {"region": "europe-west1"}, "project, temp_location"),
    ],
)
def test_what_a_runner_cannot_do_without(runner, options, missing):
    with pytest.raises(CallerError, match=f"needs {missing}; add it to conversion.runner_options"):
        pipeline_options(runner, options)


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
