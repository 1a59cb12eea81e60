"""A training job that has begun keeps a whole version, whatever is published and pruned meanwhile."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from imagemill.catalog import Catalog, RetentionPolicy, current, read_manifest
from imagemill.quality.validate import write_report
from imagemill.records.reader import RecordReader
from tests.support.gate import LATER, VERSION, build, judge, toys

NOW = datetime(2026, 2, 1, tzinfo=UTC)
POLICY = RetentionPolicy(keep=1, grace=timedelta(hours=24))


def test_tf_data_reads_on_through_a_publish_and_a_prune(tmp_path):
    import tensorflow as tf

    for version in (VERSION, LATER):
        write_report(judge(build(tmp_path, toys(), version=version, shards=4)))
    catalog = Catalog(str(tmp_path))
    catalog.publish(VERSION)

    folder = Path(current(str(tmp_path)))
    manifest = read_manifest(str(folder))
    dataset = tf.data.Dataset.from_tensor_slices([str(folder / shard.name) for shard in manifest.shards])
    records = iter(tf.data.TFRecordDataset(dataset, buffer_size=64))
    begun = [next(records) for _ in range(20)]
    reader = RecordReader(str(folder))

    catalog.publish(LATER)
    assert catalog.prune(POLICY, now=NOW).retired == (VERSION,)
    assert catalog.prune(POLICY, now=NOW + timedelta(hours=23)).removed == ()
    assert len([*begun, *records]) == len(list(reader)) == 60
    assert catalog.prune(POLICY, now=NOW + timedelta(hours=25)).removed == (VERSION,)
    assert catalog.current().version == LATER
