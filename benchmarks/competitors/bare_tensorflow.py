"""The shortest honest loop: read, tf.train.Example, TFRecordWriter. No check, no checksum, no size of the image.

`python -m benchmarks.competitors.bare_tensorflow TREE OUTPUT SHARDS`
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf

from benchmarks.competitors.stopwatch import report


def to_example(name: str, label: str, data: bytes) -> tf.train.Example:
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label[-1])])),
        "image/class/text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def convert() -> int:
    tree, output, shards = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    output.mkdir(parents=True)
    rows = [line.split(",") for line in (tree / "index.csv").read_text().splitlines()]
    images = f"{tree}/images/"
    for shard in range(shards):
        with tf.io.TFRecordWriter(str(output / f"bench-train.tfrecord-{shard:05d}-of-{shards:05d}")) as writer:
            for name, label in rows[shard::shards]:
                with open(images + name, "rb") as file:  # noqa: PTH123 - a path object for each image would cost
                    data = file.read()
                writer.write(to_example(name, label, data).SerializeToString())
    return len(rows)


if __name__ == "__main__":
    report(convert)
