"""The project's wheel, and a worker environment that does not have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.runners import BOOT, ROOT, WORKER

EPOCH = "315532800"
"""1980-01-01, the oldest time a zip archive can hold: the same sources give the same wheel."""


def build_wheel(folder: Path) -> Path:
    """Builds the project's wheel, reproducibly."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(
        command, env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH}, capture_output=True, text=True, check=False
    )
    if built.returncode:
        raise RuntimeError(f"the wheel does not build:\n{built.stdout}{built.stderr}")
    (wheel,) = folder.glob("*.whl")
    return wheel


WORKER_FOLDERS = "worker.*"
"""What the start script makes beside itself, one for each worker."""

_START_WORKER = """\
#!/bin/sh
# What Beam's image does for each worker: an environment of its own on top of the installed packages, so that
# what one job ships is not seen by the next. (The image's way needs /opt and runs ensurepip each time.)
set -eu
own=$(mktemp -d "{folder}/worker.XXXXXX")
"{worker}/bin/python" -m venv --without-pip "$own"
for packages in "$own"/lib/python*/site-packages; do echo "{packages}" > "$packages/installed.pth"; done
export PATH="$own/bin:$PATH" RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
exec "{boot}" "$@" --semi_persist_dir="$own"
"""


def write_start_script(folder: Path) -> Path:
    """Writes the executable a worker pool or a PROCESS environment starts for each SDK worker.

    It fulfils Beam's container contract: what a job staged (`--extra_package`) is installed before the worker runs.
    """
    (packages,) = (WORKER / "lib").glob("python*/site-packages")
    script = folder / "start-worker"
    script.write_text(_START_WORKER.format(folder=folder, worker=WORKER, packages=packages, boot=BOOT))
    script.chmod(0o755)
    return script
