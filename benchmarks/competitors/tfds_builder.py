"""TFDS's own builders: a generator, or with `--beam` a Beam pipeline on the same runner.

`python -m benchmarks.competitors.tfds_builder TREE OUTPUT [--beam]`
"""

from __future__ import annotations

import sys
from pathlib import Path

import apache_beam as beam
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks.competitors.stopwatch import report

TREE = Path(sys.argv[1])
BEAM = "--beam" in sys.argv


def to_example(row: str) -> tuple[str, dict[str, object]]:
    name, label = row.split(",")
    # Bytes, not a path: TFDS would read the file through `tf.io.gfile`, which is slower.
    with open(f"{TREE}/images/{name}", "rb") as file:  # noqa: PTH123 - as above
        return name, {"image": file.read(), "label": label, "filename": name}


class Bench(tfds.core.GeneratorBasedBuilder):
    """The images with their labels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=[f"class_{number}" for number in range(10)]),
                "filename": tfds.features.Text(),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, description="A benchmark.")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, object]:
        return {"train": self._generate_examples((TREE / "index.csv").read_text().splitlines())}

    def _generate_examples(self, rows: list[str]) -> object:
        if BEAM:
            return beam.Create(rows) | beam.Map(to_example)
        return map(to_example, rows)


def convert() -> int:
    options = PipelineOptions(["--runner=FnApiRunner"])
    config = tfds.download.DownloadConfig(
        beam_runner="FnApiRunner" if BEAM else None, beam_options=options if BEAM else None, compute_stats="skip"
    )
    builder = Bench(data_dir=sys.argv[2])
    builder.download_and_prepare(download_config=config)
    return int(builder.info.splits["train"].num_examples)


if __name__ == "__main__":
    report(convert)
