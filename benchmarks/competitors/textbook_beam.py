"""The pipeline that tutorials show: ReadFromText, Map(read), Map(to Example), WriteToTFRecord, on the same runner.

`python -m benchmarks.competitors.textbook_beam TREE OUTPUT SHARDS`
"""

from __future__ import annotations

import sys
from pathlib import Path

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import fn_api_runner  # noqa: F401 - an import too, though Beam makes it late

from benchmarks.competitors.bare_tensorflow import to_example
from benchmarks.competitors.stopwatch import report


def read(line: str, images: str) -> tuple[str, str, bytes]:
    name, label = line.split(",")
    with open(images + name, "rb") as file:  # noqa: PTH123 - as above
        return name, label, file.read()


def serialize(row: tuple[str, str, bytes]) -> bytes:
    return to_example(*row).SerializeToString()


def convert() -> int:
    tree, output, shards = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    output.mkdir(parents=True)
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromText(str(tree / "index.csv"))
            | "Read" >> beam.Map(read, images=f"{tree}/images/")
            | "To Example" >> beam.Map(serialize)
            | beam.io.WriteToTFRecord(str(output / "bench-train.tfrecord"), num_shards=shards)
        )
    # Counting is not its work; the benchmark checks the first file only for being one that TensorFlow reads.
    first = next(iter(output.glob("bench-train.tfrecord-00000*")))
    next(iter(tf.data.TFRecordDataset(str(first))))
    return sum(1 for _ in (tree / "index.csv").open())


if __name__ == "__main__":
    report(convert)
