"""`imagemill convert` on Dataflow, without Airflow."""

from __future__ import annotations

from imagemill.catalog import read_manifest
from tests.support.command import Command


def test_the_command_ships_the_package_to_the_workers(conversion, standin, tmp_path):
    planned = conversion()
    imagemill = Command(tmp_path / "project")
    imagemill.variables = standin.variables
    imagemill.spec(planned.name, planned.spec.model_dump_json(exclude_unset=True))
    known = [job["id"] for job in standin.jobs()]
    ended = imagemill("convert", planned.name, "--json")
    assert ended.code == 0, ended.err
    uri = ended.json["version_uri"]
    (submitted,) = [job["id"] for job in standin.jobs() if job["id"] not in known]

    def state(jobs):
        return next(job["currentState"] for job in jobs if job["id"] == submitted)

    standin.wait_for(lambda jobs: state(jobs) in ("JOB_STATE_DONE", "JOB_STATE_FAILED"))
    assert state(standin.jobs()) == "JOB_STATE_DONE"
    assert read_manifest(uri).records == 50
