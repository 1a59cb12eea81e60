"""Who reads the sample back: TensorFlow where it is installed, otherwise imagemill's own reader and Pillow."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from imagemill.errors import CallerError
from imagemill.processes import python_command, python_environment
from imagemill.quality.evidence import ReadBack
from imagemill.quality.tensorflow_reader import FEATURES, quiet
from imagemill.records.example import MalformedExample, decode_features
from imagemill.records.tfrecord import read_records

ReaderChoice = Literal["auto", "tensorflow", "native"]


@dataclass(frozen=True, slots=True)
class LocalShard:
    """A whole shard as a local file; `compression` is "" or "gzip"."""

    path: Path
    compression: str


@dataclass(frozen=True, slots=True)
class Readings:
    """What a reader gave.

    Attributes:
        reader: Who, with its version.
        records: One for each record of the sample file, in order.
        whole: Records of each whole shard, or why it cannot be read; empty where the reader reads samples only.
        crash: How the reader came to an end before its work did; "" where it did not.
    """

    reader: str
    records: list[ReadBack]
    whole: list[tuple[int | None, str]]
    crash: str = ""


class Reader(Protocol):
    """Reads a sample back."""

    def read(self, sample: Path, whole: Sequence[LocalShard]) -> Readings: ...


def open_reader(choice: ReaderChoice = "auto") -> AbstractContextManager[Reader]:
    """Returns the chosen reader; `auto` is TensorFlow where it is installed.

    Raises:
        CallerError: TensorFlow was asked for and is not installed.
    """
    installed = find_spec("tensorflow") is not None
    if choice == "tensorflow" and not installed:
        raise CallerError("TensorFlow is not installed; install imagemill[tensorflow], or read with `native`")
    return _tensorflow() if installed and choice != "native" else _native()


@contextmanager
def _native() -> Iterator[Reader]:
    yield NativeReader()


class NativeReader:
    """imagemill's own TFRecord reader, with Pillow as the decoder."""

    def read(self, sample: Path, whole: Sequence[LocalShard]) -> Readings:
        import PIL

        with sample.open("rb") as file:
            records = [_read_natively(payload) for _, payload in read_records(file, where=str(sample))]
        return Readings(f"imagemill's own reader and Pillow {PIL.__version__} (TensorFlow did not look)", records, [])


def _read_natively(payload: bytes) -> ReadBack:
    try:
        features = decode_features(payload)
    except MalformedExample as error:
        return ReadBack(unparsed=str(error))
    for name, kind in FEATURES.items():
        found = features.get(name, [])
        if [type(value) for value in found] != [kind]:
            shown = ", ".join(f"{value!r:.40}" for value in found[:3]) or "missing"
            return ReadBack(unparsed=f"{name} is {shown}; it must be one value of type {kind.__name__}")
    return _read_features({name: features[name][0] for name in FEATURES})


def _read_features(features: Mapping[str, Any]) -> ReadBack:
    encoded = features["image/encoded"]
    decoded, spread, undecoded = _decode(encoded)
    return ReadBack(
        undecoded=undecoded,
        key=features["image/filename"].decode(errors="replace"),
        label=features["image/class/label"],
        text=features["image/class/text"].decode(errors="replace"),
        stored_sha256=features["image/key/sha256"].decode(errors="replace"),
        encoded_sha256=hashlib.sha256(encoded).hexdigest(),
        stated_size=(features["image/height"], features["image/width"]),
        decoded_size=decoded,
        spread=spread,
    )


def _decode(encoded: bytes) -> tuple[tuple[int, int], int, str]:
    """Returns height and width, the spread of the pixels, and why they do not decode."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            # Through RGBA, since a palette may hold one colour twice; 16-bit grey is clipped by that.
            plain = image if image.mode in {"L", "LA", "RGB", "RGBA"} else image.convert("RGBA")
            extrema = plain.getextrema()
            bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
            spread = max(int(high - low) for low, high in bands)
            return (image.height, image.width), spread, ""
    # What Pillow raises for broken images, beyond OSError.
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError) as error:
        return (0, 0), 255, f"Pillow: {error}"


@contextmanager
def _tensorflow() -> Iterator[Reader]:
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        process = subprocess.Popen(
            python_command("imagemill.quality.tensorflow_reader"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=python_environment() | quiet(),
        )
        stack.callback(_end, process)
        yield TensorFlowReader(process, log)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


class TensorFlowReader:
    """TensorFlow's own reader, in a process that imports it while the caller still gathers the sample.

    Args:
        process: The process, `imagemill.quality.tensorflow_reader`.
        log: Where its stderr goes.
    """

    def __init__(self, process: subprocess.Popen[str], log: TextIO) -> None:
        self.process, self._log = process, log

    def read(self, sample: Path, whole: Sequence[LocalShard]) -> Readings:
        request = {"sample": str(sample), "whole": [[str(shard.path), shard.compression] for shard in whole]}
        output, _ = self.process.communicate(json.dumps(request) + "\n")
        answers = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return Readings(
            reader=next((answer["reader"] for answer in answers if "reader" in answer), "TensorFlow"),
            records=[_from_json(answer["record"]) for answer in answers if "record" in answer],
            whole=[(answer["whole"]["records"], answer["whole"]["problem"]) for answer in answers if "whole" in answer],
            crash=self._last_words() if self.process.returncode else "",
        )

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines() if line.strip()]
        return f"TensorFlow's process ended with code {self.process.returncode}: {lines[-1] if lines else 'no word'}"


def _from_json(value: dict[str, Any]) -> ReadBack:
    sizes = {name: tuple(value[name]) for name in ("stated_size", "decoded_size")}
    return ReadBack(**(value | sizes))
