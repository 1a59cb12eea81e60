"""Python processes of our own: how many, by which command, and where they find their modules."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def usable_cpus() -> int:
    """Returns the processors that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def python_command(module: str) -> list[str]:
    """Returns the command that runs a module; none of the working directory's comes before Python's own (`-P`)."""
    return [sys.executable, "-P", "-m", module]


def python_environment(root: Path = _ROOT) -> dict[str, str]:
    """Returns this process's variables, by which a child finds the packages of a folder, by default of this package's.

    They need not be installed: Airflow itself puts Composer's folders on its path.
    """
    path = os.pathsep.join(part for part in (str(root), os.environ.get("PYTHONPATH", "")) if part)
    return os.environ | {"PYTHONPATH": path}
