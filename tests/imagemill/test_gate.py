"""The gate as a whole: what is published when data change a little, are damaged, or go missing."""

from pathlib import Path

import pytest

from imagemill.catalog import Catalog
from imagemill.errors import UnusableData
from imagemill.quality.report import raise_if_failed
from imagemill.quality.validate import write_report
from tests.support.gate import LATER, VERSION, build, judge, toys
from tests.support.versions import picture

LABELS = ["cat", "dog", "owl"]


@pytest.fixture
def catalog(tmp_path):
    """200 images, published."""
    write_report(judge(build(tmp_path, toys(200))))
    catalog = Catalog(str(tmp_path))
    catalog.publish(VERSION)
    return catalog


def offer(catalog, images):
    """Takes a new version through the gate, and returns its report."""
    report = judge(build(tmp_root(catalog), images, version=LATER, labels=LABELS), published_uri=catalog.current().uri)
    write_report(report)
    return report


def tmp_root(catalog):
    return Path(catalog.uri)


def test_one_percent_changed_is_published_with_the_right_diff(catalog):
    images = toys(200)
    changed = list(images)[50:52]
    report = offer(catalog, images | {row: picture(1_000 + n) for n, row in enumerate(changed)})
    raise_if_failed(report)
    assert catalog.publish(LATER).moved
    diff = report.base.diff
    assert (diff.total.changed, diff.total.added, diff.total.removed, diff.unchanged) == (2, 0, 0, 198)
    assert {example.key for example in diff.examples["changed"]} == {row.filename for row in changed}


@pytest.mark.parametrize(
    ("change", "check", "advice"),
    [
        pytest.param(
            lambda images: {
                row._replace(label={"cat": "dog", "dog": "cat"}.get(row.label, row.label)): data
                for row, data in images.items()
            },
            "relabelled",
            "labels were swapped",
            id="labels swapped",
        ),
        pytest.param(
            lambda images: dict(list(images.items())[::2]), "row_drift", "source that was cut short", id="half gone"
        ),
    ],
)
def test_what_is_wrong_is_stopped_by_the_right_check_with_advice(catalog, change, check, advice):
    report = offer(catalog, change(toys(200)))
    assert [failure.name for failure in report.failures] == [check]
    with pytest.raises(UnusableData, match=advice):
        raise_if_failed(report)
    with pytest.raises(UnusableData, match=check):
        catalog.publish(LATER)
    assert catalog.current().version == VERSION
    catalog.publish(LATER, force=True, reason="it is meant", by="a person")
    assert catalog.history()[0].overridden == (check,)
