"""A published version that is broken stops a refresh, and a forced refresh makes another one."""

import shutil
from datetime import UTC, datetime

import pytest

from imagemill import steps
from imagemill.catalog import Catalog
from imagemill.errors import UnusableData
from imagemill.manifest import MANIFEST
from imagemill.quality.report import REPORT, Verdict, parse_report
from imagemill.quality.validate import write_report
from imagemill.spec import DatasetSpec
from tests.support.gate import LATER, VERSION, build, judge, toys

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A dataset with a published version, and another one that was converted since."""
    monkeypatch.setattr("imagemill.quality.readers.find_spec", lambda name: None)  # TensorFlow costs seconds to import
    output = tmp_path / "toys"
    write_report(judge(build(output, toys(12))))
    Catalog(str(output)).publish(VERSION)
    build(output, toys(12), version=LATER).images.rename(output / "images")
    (tmp_path / "staging").mkdir()
    for name in ("images", "index.csv"):
        shutil.move(output / name, tmp_path / "staging" / name)
    return DatasetSpec.model_validate(
        {
            "name": "toys",
            "source": {"type": "shapes"},
            "splits": {"names": ["train", "test"]},
            "locations": {"staging": str(tmp_path / "staging"), "output": str(output), "work": str(tmp_path / "work")},
        }
    )


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda output: cut(output / "versions" / VERSION / MANIFEST), id="cut manifest"),
        pytest.param(lambda output: shutil.rmtree(output / "versions" / VERSION), id="removed version"),
        pytest.param(lambda output: cut(output / "CURRENT"), id="cut pointer"),
    ],
)
def test_force_leads_out_of_a_broken_publication(tmp_path, spec, damage):
    damage(tmp_path / "toys")
    for step in (lambda: steps.plan_conversion(spec, now=NOW), lambda: steps.validate_records(spec, LATER)):
        with pytest.raises(UnusableData, match="--force"):
            step()
    planned = steps.plan_conversion(spec, now=NOW, force=True)
    assert (planned.action, planned.converted) == ("convert", False)
    steps.validate_records(spec, LATER, force=True)
    report = parse_report((tmp_path / "toys" / "versions" / LATER / REPORT).read_bytes(), where="")
    assert report.check("row_drift").verdict is Verdict.SKIPPED
    assert "the published version cannot be read" in report.check("row_drift").observed
    assert steps.publish(spec, LATER).version == LATER
    assert Catalog(spec.locations.output).current().version == LATER


def test_force_still_compares_with_a_published_version_that_is_sound(tmp_path, spec):
    steps.validate_records(spec, LATER, force=True)
    report = parse_report((tmp_path / "toys" / "versions" / LATER / REPORT).read_bytes(), where="")
    assert report.base.version == VERSION
