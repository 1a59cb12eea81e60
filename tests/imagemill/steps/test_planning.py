"""What planning writes down about a version beside its plan."""

from datetime import UTC, datetime

import pytest

from beam_jobs.convert_images import main
from imagemill.plan import PLAN
from imagemill.spec import DatasetSpec
from imagemill.steps.planning import plan_conversion
from imagemill.steps.results import Inputs
from imagemill.storage import open_store
from imagemill.version.run_record import JobRecord, read_run, record_job
from tests.support import conversions


@pytest.fixture
def plan(tmp_path):
    inputs = conversions.mixture(tmp_path / "input")
    source = Inputs(index=str(inputs.root / "index.csv"), images=str(inputs.root / "images"))
    spec = DatasetSpec.model_validate(
        {
            "name": "mixture",
            "source": {"type": "index", "index": source.index, "images": source.images},
            "splits": {"fractions": {"train": 0.5, "test": 0.5}, "names": ["extra"]},
            "locations": {"staging": source.images, "output": str(tmp_path / "output")},
        }
    )
    return lambda second, **asker: plan_conversion(
        spec, now=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), source=source, **asker
    )


def test_the_record_of_a_whole_candidate_names_who_asked_last(plan):
    first = plan(1, user="ann", note="a try")
    assert main(["--plan", f"{first.version_uri}/{PLAN}"]) == 0
    record_job(first.version_uri, runner="local", seconds=1.0)
    again = plan(2, user="bob", note="for the release")
    assert (again.version, again.converted) == (first.version, True)
    record = read_run(open_store(first.version_uri))
    assert (record.requested_by, record.note, record.requested_at.second) == ("bob", "for the release", 2)
    assert record.reason == "input or settings are new"
    assert record.job == JobRecord(runner="local", seconds=1.0)


def test_a_record_that_is_gone_is_not_made_up(plan, tmp_path):
    first = plan(1)
    assert main(["--plan", f"{first.version_uri}/{PLAN}"]) == 0
    open_store(first.version_uri).delete("run.json")
    record_job(first.version_uri, runner="local", seconds=1.0)
    assert plan(2).converted
    assert read_run(open_store(first.version_uri)) is None
