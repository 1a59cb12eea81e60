"""A Composer environment on this machine: its bucket in an emulator, its packages in .venv/composer, its mounts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Ended

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "composer" / "bin" / "python"
"""Airflow 3.3.1 and Beam provider 6.2.3, as `make composer-env` installs them."""

NOBODY = 65534


def require_composer() -> None:
    """Skips the test, or fails it where the environment must be there (CI, or IMAGEMILL_REQUIRE_RUNNERS=1)."""
    if (PYTHON.parents[1] / ".complete").exists():
        return
    reason = ".venv/composer is missing: run 'make composer-env'"
    if os.environ.get("CI") == "true" or os.environ.get("IMAGEMILL_REQUIRE_RUNNERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def description(bucket: str, **software: Any) -> dict[str, Any]:
    """Returns what `gcloud composer environments describe --format json` prints of an environment."""
    return {
        "name": "projects/my-project/locations/europe-west1/environments/mill",
        "state": "RUNNING",
        "config": {
            "dagGcsPrefix": f"{bucket}/dags",
            "nodeConfig": {"serviceAccount": "composer@my-project.iam.gserviceaccount.com"},
            "softwareConfig": {"imageVersion": "composer-3-airflow-3.3.1-build.0"} | software,
        },
        "storageConfig": {"bucket": bucket.removeprefix("gs://")},
    }


def deploy(*arguments: str | Path, variables: dict[str, str]) -> Ended:
    """Runs `python -m deploy.composer`."""
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.composer", *map(str, arguments)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def described(folder: Path, bucket: str, **software: Any) -> Path:
    """Writes a description into a folder and returns its path."""
    path = folder / "environment.json"
    path.write_text(json.dumps(description(bucket, **software)))
    return path


def listed(folder: Path) -> Path:
    """Writes what `list-packages` prints of the environment on this machine, and returns its path."""
    path = folder / "packages.txt"
    path.write_text(subprocess.run([PYTHON, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout)
    return path


def as_nobody(command: Sequence[str]) -> list[str]:
    """Returns the command line of a user who may read what its starter may, and write nothing of it.

    Root becomes that user; others ask sudo, which must not want a password. The test is skipped where neither works.
    """
    ability = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *ability]
    if os.geteuid() != 0:
        become = ["sudo", "--non-interactive", "--preserve-env", *become]
    if shutil.which(become[0]) is None or subprocess.run([*become, "true"], check=False).returncode:
        pytest.skip("nobody here can become the restricted user of Composer's workers: run as root, or with sudo")
    return [*become, *command]
