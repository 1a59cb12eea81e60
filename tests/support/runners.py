"""Where `make runners` puts what the tests of the runners need, and what happens where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".venv" / "runners"

PRISM = INSTALLED / "bin" / "prism"
BOOT = INSTALLED / "bin" / "boot"
"""Beam's own worker start-up, as in its images: fetches what a job staged, installs it, runs the SDK worker."""
JOB_SERVER = INSTALLED / "job-server"
FLINK = INSTALLED / "flink" / "pyflink" / "lib"
WORKER = INSTALLED / "worker"
"""A virtual environment with Beam and this project's dependencies, without this project."""


def require(*paths: Path) -> None:
    """Skips the test, or fails it where the runners must be there (CI, or IMAGEMILL_REQUIRE_RUNNERS=1)."""
    missing = [str(path.relative_to(ROOT)) for path in paths if not path.exists()]
    if not missing:
        return
    reason = f"{', '.join(missing)} missing: run 'make runners' (needs Go, Java 17 and Maven)"
    if os.environ.get("CI") == "true" or os.environ.get("IMAGEMILL_REQUIRE_RUNNERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
