"""Faults in what workers would get, sown into a real installation."""

from imagemill.worker_wheel import build_worker_wheel
from tests.support.command import SPEC
from tests.support.doctor import IN_A_BUCKET, Doctor

CLOUD = "project: my-project, region: europe-west1, temp_location: 'gs://doctor-bucket/temp'"


def on_dataflow(more=""):
    conversion = f"conversion: {{runner: dataflow, dataflow: {{{CLOUD}{more}}}}}\n"
    return IN_A_BUCKET.replace("conversion: {shards: {count: {train: 2, test: 1}}}\n", conversion)


def test_workers_on_dataflow_get_what_is_installed_here_and_cannot_see_this_machine(command):
    command.spec("dots", on_dataflow())
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert "Dataflow's workers cannot see this machine's emulator → unset STORAGE" in doctor.one("runner dots")
    assert "made of what is installed here" in doctor.one("workers dots", "good")


def test_a_wheel_for_dataflow_that_is_not_there(command):
    command.spec("dots", on_dataflow(", worker_wheel: /nowhere/imagemill-1-py3-none-any.whl"))
    assert "/nowhere/imagemill-1-py3-none-any.whl is not there → make one" in Doctor(command).one("workers dots")


def on_flink(options):
    conversion = f"conversion: {{runner: flink, runner_options: {{job_endpoint: 'h:1', {options}}}}}\n"
    return SPEC.replace("conversion: {shards: {count: {train: 2, test: 1}}}\n", conversion)


def test_workers_on_a_cluster_get_what_is_installed_here(command):
    command.spec("dots", on_flink("environment_type: EXTERNAL"))
    doctor = Doctor(command)
    assert doctor.ended.code == 0
    assert "made of what is installed here" in doctor.one("workers dots", "good")


def test_a_cluster_whose_only_worker_would_be_this_process(command):
    command.spec("dots", on_flink(""))
    assert "the only worker (environment_type LOOPBACK)" in Doctor(command).one("workers dots", "warning")


def test_a_wheel_that_is_not_there(command):
    command.spec("dots", on_flink("environment_type: EXTERNAL, extra_package: /nowhere/imagemill.whl"))
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    way_out = "make one with `python -m imagemill.worker_wheel FOLDER`"
    assert f"/nowhere/imagemill.whl is not there → {way_out}" in doctor.one("workers dots")


def test_a_wheel_that_was_renamed(command):
    wheel = build_worker_wheel(command.project).rename(command.project / "imagemill.whl")
    command.spec("dots", on_flink(f"environment_type: EXTERNAL, extra_package: {wheel}"))
    doctor = Doctor(command)
    assert doctor.ended.code == 2
    assert f"workers cannot install {wheel} by that name" in doctor.one("workers dots")
    assert "→ rename it as `python -m imagemill.worker_wheel FOLDER` named it" in doctor.one("workers dots")
