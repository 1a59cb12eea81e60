"""TensorFlow as the oracle, in a process of its own: `python -m imagemill.quality.tensorflow_reader`.

A process, because importing TensorFlow takes seconds that overlap with the scan this way, because a crash of a decoder
becomes a finding, and because nobody else then pays for its memory. It reads one JSON request from stdin,
`{"sample": path, "whole": [[path, compression], ...]}`, and answers on stdout with JSON lines: one with `reader`, one
with `record` for each sampled record, one with `whole` for each whole shard. It sees local files only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from imagemill.garbage import end_at_once, few_collections
from imagemill.quality.evidence import ReadBack

if TYPE_CHECKING:
    import tensorflow as tf


FEATURES: dict[str, type[bytes] | type[int]] = {
    "image/encoded": bytes,
    "image/format": bytes,
    "image/height": int,
    "image/width": int,
    "image/channels": int,
    "image/filename": bytes,
    "image/key/sha256": bytes,
    "image/class/label": int,
    "image/class/text": bytes,
}
"""The features of a record, each with one value of this type."""


def quiet() -> dict[str, str]:
    """Returns the environment in which TensorFlow keeps to the processor and says only errors."""
    return {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def main(requests: TextIO, answers: TextIO) -> None:
    end_at_once()
    # TensorFlow imports Keras where there is one, for almost as many seconds again; it does without where that fails.
    sys.modules["keras"] = None  # type: ignore[assignment]  # makes an import fail; typeshed knows modules only
    with few_collections():
        import tensorflow as tf

    _say(answers, {"reader": f"TensorFlow {tf.__version__}"})
    line = requests.readline()
    if not line:  # the parent is gone
        return
    request = json.loads(line)
    for found in read_sample(request["sample"]):
        _say(answers, {"record": asdict(found)})
    for path, compression in request["whole"]:
        _say(answers, {"whole": _count(path, compression)})


def read_sample(path: str) -> Iterator[ReadBack]:
    """Yields what TensorFlow makes of every record of a TFRecord file, in order."""
    import tensorflow as tf

    kinds = {bytes: tf.string, int: tf.int64}
    features = {name: tf.io.FixedLenFeature([], kinds[kind]) for name, kind in FEATURES.items()}
    for serialized in tf.data.TFRecordDataset(path):
        try:
            parsed = tf.io.parse_single_example(serialized, features)
        except tf.errors.InvalidArgumentError as error:
            yield ReadBack(unparsed=f"parse_single_example: {_first_line(error)}")
            continue
        yield _read_back({name: tensor.numpy() for name, tensor in parsed.items()}, parsed["image/encoded"])


def _read_back(values: dict[str, Any], encoded: tf.Tensor) -> ReadBack:
    import tensorflow as tf

    decoded, undecoded, spread = (0, 0), "", 255
    try:
        webp = values["image/format"] == b"webp"
        pixels = tf.io.decode_webp(encoded) if webp else tf.io.decode_image(encoded, expand_animations=False)
        # Height and width stand before the channels; `decode_webp` has frames before them.
        decoded = (int(pixels.shape[-3]), int(pixels.shape[-2]))
        spread = _spread(pixels)
    except tf.errors.InvalidArgumentError as error:
        undecoded = f"decode_image: {_first_line(error)}"
    return ReadBack(
        undecoded=undecoded,
        key=values["image/filename"].decode(errors="replace"),
        label=int(values["image/class/label"]),
        text=values["image/class/text"].decode(errors="replace"),
        stored_sha256=values["image/key/sha256"].decode(errors="replace"),
        encoded_sha256=hashlib.sha256(values["image/encoded"]).hexdigest(),
        stated_size=(int(values["image/height"]), int(values["image/width"])),
        decoded_size=decoded,
        spread=spread,
    )


def _spread(pixels: tf.Tensor) -> int:
    """Returns the widest range of values that a channel has."""
    import tensorflow as tf

    by_channel = tf.reshape(tf.cast(pixels, tf.int32), (-1, pixels.shape[-1]))
    ranges = tf.reduce_max(by_channel, axis=0) - tf.reduce_min(by_channel, axis=0)
    return int(tf.reduce_max(ranges))


def _count(path: str, compression: str) -> dict[str, Any]:
    import tensorflow as tf

    dataset = tf.data.TFRecordDataset(path, compression_type=compression.upper())
    try:
        records = int(dataset.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1).numpy())
    except tf.errors.DataLossError as error:
        return {"records": None, "problem": f"TFRecordDataset: {_first_line(error)}"}
    return {"records": records, "problem": ""}


def _first_line(error: Exception) -> str:
    message = str(error).partition("\n")[0]
    return message.removesuffix(" [Op:DecodeImage] name: ").removesuffix(" name: ")[:300]


def _say(answers: TextIO, value: dict[str, Any]) -> None:
    print(json.dumps(value), file=answers, flush=True)


if __name__ == "__main__":
    os.environ.update(quiet())
    main(sys.stdin, sys.stdout)
