"""How fast `imagemill sync` is beside Google's own tool: `python -m benchmarks.sync_speed [OBJECTS] [--repeats N]`.

Whole processes in turns against one emulator: a first upload of PNG of 2.4 KB, then a second run that finds nothing to
do. The emulator runs on the same machine and is most of the wall time; the CPU time is the client's own. Where gcloud
is not installed, google-cloud-storage's `transfer_manager` stands for it, which has no second run. `--alone` leaves the
others out: memory at many objects needs no contest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.gcs.server import client_environment, emulator

FILES_IN_FOLDER = 1_000
MEAN_BYTES = 2_400

OURS, GCLOUD, MANAGER = "imagemill sync", "gcloud storage rsync", "transfer_manager (no gcloud here)"

FASTER, CHEAPER, RESYNC = 6.0, 15.0, 5.0
"""Targets: times faster, times less CPU, and times faster where nothing changed."""

_TRANSFER_MANAGER = """
import sys
from pathlib import Path
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client, transfer_manager
folder, bucket, prefix = sys.argv[1:]
names = [str(path.relative_to(folder)) for path in Path(folder).rglob("*.png")]
target = Client("demo", AnonymousCredentials()).bucket(bucket)
results = transfer_manager.upload_many_from_filenames(
    target, names, source_directory=folder, blob_name_prefix=prefix + "/",
    max_workers=16, worker_type=transfer_manager.THREAD,
)
sys.exit(any(isinstance(result, Exception) for result in results))
"""


def run(scale: int = 5_000, *, repeats: int = 3, alone: bool = False) -> dict[str, Any]:
    """Returns the medians of each contestant's wall and CPU seconds, and the ratios against their targets."""
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="imagemill-") as name:
        folder = Path(name)
        images = draw(folder / "images", scale)
        with emulator(folder, buckets=["bench"]) as gcs:
            environment = os.environ | client_environment(gcs.url) | {"CLOUDSDK_CONFIG": str(folder / "gcloud")}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # no user starts without compiled modules
            _warm(environment)
            for turn in range(repeats):
                for contestant, command in contestants(images, f"turn-{turn}", alone=alone).items():
                    runs.setdefault(contestant, []).append(measure(command, environment))
                    if contestant != MANAGER:  # it would upload everything again
                        runs.setdefault(f"{contestant}, again", []).append(measure(command, environment))
    found = {name: {key: statistics.median(run[key] for run in each) for key in each[0]} for name, each in runs.items()}
    return {"objects": scale, "repeats": repeats, "runs": found, "ratios": [] if alone else ratios(found)}


def draw(folder: Path, count: int) -> Path:
    """Writes files of a PNG's size and entropy; nobody decodes them here."""
    chance = random.Random(0)
    for number in range(count):
        path = folder / f"{number // FILES_IN_FOLDER:04}" / f"{number:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chance.randbytes(MEAN_BYTES - 8))
    return folder


def contestants(images: Path, prefix: str, *, alone: bool = False) -> dict[str, Sequence[str]]:
    """Returns the command of each contestant."""
    found: dict[str, Sequence[str]] = {
        OURS: [sys.executable, "-m", "imagemill", "sync", str(images), f"gs://bench/{prefix}/ours"]
    }
    if alone:
        return found
    if shutil.which("gcloud"):
        found[GCLOUD] = ["gcloud", "storage", "rsync", "-r", str(images), f"gs://bench/{prefix}/theirs"]
    else:
        script = [sys.executable, "-c", _TRANSFER_MANAGER]
        found[MANAGER] = [*script, str(images), "bench", f"{prefix}/theirs"]
    return found


def measure(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
    """Runs a command and returns its wall and CPU seconds and the peak memory of its largest process."""
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command[:4]} failed: {log.read()[-2000:].decode()}")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
    }


def ratios(found: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Compares the other contestant with ours; where nothing changed, only one that can tell."""
    ours, theirs = found[OURS], found[GCLOUD if GCLOUD in found else MANAGER]
    pairs = [
        ("times faster, first upload", theirs["seconds"] / ours["seconds"], FASTER),
        ("times less CPU, first upload", theirs["cpu_seconds"] / ours["cpu_seconds"], CHEAPER),
    ]
    if GCLOUD in found:
        again = found[f"{GCLOUD}, again"]["seconds"] / found[f"{OURS}, again"]["seconds"]
        pairs.append(("times faster, nothing changed", again, RESYNC))
    return [{"what": what, "value": value, "target": target, "holds": value >= target} for what, value, target in pairs]


def _warm(environment: Mapping[str, str]) -> None:
    """Lets both tools do once what only their first run does: compile modules, set a configuration up."""
    subprocess.run(
        [sys.executable, "-m", "imagemill", "sync", "--help"], env=environment, check=True, capture_output=True
    )
    if shutil.which("gcloud"):
        subprocess.run(["gcloud", "storage", "ls", "gs://bench"], env=environment, check=False, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("objects", type=int, nargs="?", default=5_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="measure imagemill only")
    options = parser.parse_args()
    print(json.dumps(run(options.objects, repeats=options.repeats, alone=options.alone), indent=1))


if __name__ == "__main__":
    main()
