"""Google's own command line, kept apart from whoever runs the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

needs_gcloud = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud, Google Cloud's CLI, is not installed")


def alone(folder: Path) -> dict[str, str]:
    """Returns the variables with which it has a configuration of its own, asks nothing, and reports nothing."""
    return {
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }
