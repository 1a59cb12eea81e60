import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from imagemill.errors import TemporaryFault
from imagemill.sources.png import PngJob, png_writer, write_images


@pytest.fixture
def job(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    return PngJob(str(tmp_path), ["a.png", "b.png", "c.png"], 8, pixels.tobytes())


@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_come_back(job, tmp_path, workers):
    with png_writer(images=3, workers=workers) as writer:
        writer.submit(job).result()
    read = b"".join(np.asarray(Image.open(tmp_path / name)).tobytes() for name in job.names)
    assert read == job.pixels


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_is_gone_is_an_os_error_with_its_path(job, tmp_path, workers):
    lost = job._replace(folder=str(tmp_path / "gone"))
    with png_writer(images=3, workers=workers) as writer, pytest.raises(FileNotFoundError) as caught:
        writer.submit(lost).result()
    assert caught.value.filename == str(tmp_path / "gone/a.png")


def test_a_killed_encoder_is_a_temporary_fault(job):
    with png_writer(images=3, workers=1) as writer:
        (encoder,) = writer._processes
        os.kill(encoder.pid, signal.SIGKILL)
        encoder.wait()
        with pytest.raises(TemporaryFault, match="an image encoder ended with code -9"):
            writer.submit(job).result()


def test_encoders_end_with_the_block(job):
    with png_writer(images=3, workers=2) as writer:
        processes = writer._processes
    assert [process.returncode for process in processes] == [0, 0]


def test_an_encoder_imports_neither_numpy_nor_beam_and_ends_with_its_input():
    script = (
        "import runpy, sys; runpy.run_module('imagemill.sources.png', run_name='__main__');"
        "print(sorted(name for name in sys.modules if name in {'numpy', 'apache_beam', 'airflow', 'obstore', 'httpx'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_bytes_depend_on_the_pixels_only(job, tmp_path):
    write_images(job)
    first = (tmp_path / "a.png").read_bytes()
    os.utime(tmp_path / "a.png", (0, 0))
    write_images(job)
    assert (tmp_path / "a.png").read_bytes() == first
    assert {chunk for chunk in (b"tIME", b"tEXt", b"pHYs") if chunk in first} == set()
