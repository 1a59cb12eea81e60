"""Write arrays of pixels as PNG files, on all cores.

The encoders are processes started afresh (`python -m imagemill.sources.png`): nothing is forked, so it is safe from
any thread, daemon or Airflow task, and they import nothing but Pillow.
"""

from __future__ import annotations

import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, NamedTuple, Protocol

from imagemill.errors import TemporaryFault
from imagemill.processes import python_command, python_environment, usable_cpus

COMPRESS_LEVEL = 3
"""Of zlib: level 6 makes CIFAR-size images 5% smaller and takes half as long again; level 1 is slower and larger."""

IN_PROCESS_IMAGES = 2_000
"""Up to so many images, starting encoders takes longer than the work."""


class PngJob(NamedTuple):
    """Images of one size and the names they get.

    Attributes:
        folder: Existing folder the files are written into.
        names: File names, one an image.
        side: Height and width in pixels.
        pixels: RGB bytes, interleaved, row-major, one image after the other.
    """

    folder: str
    names: list[str]
    side: int
    pixels: bytes


class PngWriter(Protocol):
    """Takes jobs, and answers each when its files are written."""

    def submit(self, job: PngJob, /) -> Future[None]: ...


def encoder_version() -> str:
    """Returns what the bytes of a PNG depend on besides its pixels."""
    from PIL import __version__, features

    return f"pillow {__version__}, zlib {features.version('zlib')}, level {COMPRESS_LEVEL}"


def write_images(job: PngJob) -> None:
    """Writes a job's files.

    Raises:
        OSError: A file cannot be written.
    """
    from PIL import Image

    size = job.side * job.side * 3
    for number, name in enumerate(job.names):
        pixels = job.pixels[number * size : (number + 1) * size]
        image = Image.frombytes("RGB", (job.side, job.side), pixels)
        image.save(f"{job.folder}/{name}", "PNG", compress_level=COMPRESS_LEVEL)


@contextmanager
def png_writer(*, images: int, workers: int | None = None) -> Iterator[PngWriter]:
    """Opens what writes about so many images: this process for few, one encoder a core for more.

    Args:
        images: Expected images in all jobs together.
        workers: Encoder processes; by default one for each core this process may use.
    """
    if workers is None:
        workers = 0 if images <= IN_PROCESS_IMAGES else usable_cpus()
    if workers == 0:
        yield _InProcess()
        return
    with _Encoders(workers) as encoders:
        yield encoders


class _InProcess:
    def submit(self, job: PngJob, /) -> Future[None]:
        done: Future[None] = Future()
        write_images(job)
        done.set_result(None)
        return done


class _Encoders:
    """Encoder processes, each fed by a thread of its own."""

    def __init__(self, workers: int) -> None:
        self._processes = [
            subprocess.Popen(
                python_command("imagemill.sources.png"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=python_environment(),
            )
            for _ in range(workers)
        ]
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="png")

    def submit(self, job: PngJob, /) -> Future[None]:
        return self._threads.submit(self._write, job)

    def __enter__(self) -> _Encoders:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.communicate()

    def _write(self, job: PngJob) -> None:
        process = self._idle.get()
        try:
            fault = _ask(process, job)
        except (BrokenPipeError, EOFError):
            raise TemporaryFault(
                f"an image encoder ended with code {process.wait()}; where memory is short, give this machine more"
            ) from None
        finally:
            self._idle.put(process)
        if fault is not None:
            raise fault


def _ask(process: subprocess.Popen[bytes], job: PngJob) -> OSError | None:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    pickle.dump(tuple(job), process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()
    fault: OSError | None = pickle.load(process.stdout)  # noqa: S301 - our own child's answer
    return fault


def _serve(jobs: IO[bytes], answers: IO[bytes]) -> None:
    """Writes jobs until there are no more; a parent that was killed closes the pipe."""
    while True:
        try:
            job = PngJob(*pickle.load(jobs))  # noqa: S301 - our own parent's order
        except (EOFError, pickle.UnpicklingError):
            return
        try:
            write_images(job)
            fault = None
        except OSError as error:
            fault = error
        try:
            pickle.dump(fault, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:
            return


if __name__ == "__main__":
    # Ctrl-C reaches the whole process group; the parent decides, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _serve(sys.stdin.buffer, sys.stdout.buffer)
