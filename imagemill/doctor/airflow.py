"""Checks of Airflow, which a module of imagemill's Airflow package makes in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imagemill.doctor.finding import Finding, fault, skipped

MODULE = "imagemill_airflow.doctor"
TIMEOUT_SECONDS = 120
_FINDINGS = TypeAdapter(list[Finding])


def check_airflow(specs: Path, home: Path) -> Iterator[Finding]:
    """Checks the Airflow that the environment names, or else the one that `make up` uses.

    Args:
        specs: Folder of the specs.
        home: imagemill's home.
    """
    if find_spec("airflow") is None:
        yield skipped("airflow", "not installed; only `imagemill refresh` and schedules need it (imagemill[airflow])")
    elif find_spec("imagemill_airflow") is not None:
        yield from _ask([sys.executable, "-m", MODULE, "--specs", str(specs), "--home", str(home)])


def _ask(command: list[str]) -> list[Finding]:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        says = f"no answer within {TIMEOUT_SECONDS} s"
        return [fault("airflow", says, "look whether its database answers", family="temporary")]
    lines = ended.stdout.splitlines()
    try:
        return _FINDINGS.validate_python(json.loads(lines[-1] if lines else ""))
    except (ValueError, ValidationError):
        words = ended.stderr.strip().splitlines()
        says = f"it ended with code {ended.returncode}: {words[-1] if words else 'no word'}"
        return [fault("airflow", says, "run `airflow info` to see more")]
