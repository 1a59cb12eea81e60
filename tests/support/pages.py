"""Commands as a page gives them, run as its reader runs them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.command import Ended

ROOT = Path(__file__).parents[2]


def commands(page: str, *, having: str) -> list[str]:
    """Returns a page's commands that contain a text, in order and without their comments."""
    found = re.findall(r"^\$ (.*?)(?: +#.*)?$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    return [command for command in found if having in command]


def run(command: str, *, within: Path, variables: Mapping[str, str]) -> Ended:
    """Runs a command of a page, or one that a command has printed; what it writes goes into a folder of the test's."""
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    command = re.sub(r"^deploy/", f"{shlex.quote(str(ROOT))}/deploy/", command)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("IMAGEMILL_", "CLOUDSDK_"))}
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=within,
        env=ours | {"PYTHONPATH": str(ROOT)} | dict(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)
