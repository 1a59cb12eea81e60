from __future__ import annotations

import pytest
from apache_beam import Create
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to

from beam_jobs.transforms import Begin, ConvertImages, FindSharedImages, WriteRejects
from imagemill.conversion.digest_batches import KeyDigest, pack_digests
from imagemill.conversion.step_pool import Work
from tests.support.conversions import EXPECTED_REJECTS, manifest_of


def counters(result):
    """Returns the job's own counters by name."""
    found = result.metrics().query(MetricsFilter().with_namespace("imagemill"))["counters"]
    totals = {}
    for metric in found:
        totals[metric.key.metric.name] = totals.get(metric.key.metric.name, 0) + metric.committed
    return totals


def test_the_jobs_counters_are_the_manifests(mixture, tmp_path):
    version = tmp_path / "v"
    plan = mixture.plan(version)
    pipeline = Pipeline(runner="FnApiRunner")
    done = pipeline | ConvertImages(Work(plan, str(version)), block_bytes=500)
    assert_that(done, equal_to(["manifest.json"]))
    result = pipeline.run()
    result.wait_until_finish()
    manifest = manifest_of(version)
    assert counters(result) == {
        "rows": manifest.rows,
        "records": manifest.records,
        "duplicates": manifest.duplicates,
        "shards": len(manifest.shards),
        "record_bytes": sum(shard.bytes for shard in manifest.shards),
        **{f"rejected_{reason}": count for reason, count in EXPECTED_REJECTS.items()},
    }


def test_rejects_are_written_in_order_in_one_file(mixture, tmp_path):
    plan = mixture.plan(tmp_path)
    lines = [(1, b"f" * 16 + b'{"z"}\n'), (0, b"0" * 15 + b'2{"b"}\n'), (0, b"0" * 15 + b'1{"c"}\n')]
    with Pipeline(runner="FnApiRunner") as pipeline:
        entries = (pipeline | Create(lines),) | WriteRejects(Work(plan, str(tmp_path)))
        assert_that(entries, lambda found: equal_to([18])([entry.bytes for _, entry in found]))
    assert (tmp_path / "rejects.jsonl").read_bytes() == b'{"c"}\n{"b"}\n{"z"}\n'


def test_no_reject_is_an_empty_file(mixture, tmp_path):
    plan = mixture.plan(tmp_path)
    with Pipeline(runner="FnApiRunner") as pipeline:
        _ = (pipeline | Create([(0, b"")]),) | WriteRejects(Work(plan, str(tmp_path)))
    assert (tmp_path / "rejects.jsonl").read_bytes() == b""


def test_identical_images_of_two_shards_are_found(mixture, tmp_path):
    plan = mixture.plan(tmp_path / "v")
    train = pack_digests([KeyDigest(b"x" * 32, 0, "a"), KeyDigest(b"y" * 32, 0, "b")], split="train", ranges=2)
    test = pack_digests([KeyDigest(b"x" * 32, 1, "c")], split="test", ranges=2)
    with Pipeline(runner="FnApiRunner") as pipeline:
        facts = pipeline | Create([*train.items(), *test.items()]) | FindSharedImages(Work(plan, str(tmp_path)))
        assert_that(facts, lambda found: equal_to([2])([fact.split_leaks.records for _, fact in found]))


def test_a_block_must_hold_something(mixture, tmp_path):
    with pytest.raises(ValueError, match="a block of 0 bytes holds nothing"):
        Begin(Work(mixture.plan(tmp_path / "v"), str(tmp_path / "v")), block_bytes=0)
