"""The command as people run it: a process of its own, on a home and specs of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SPEC = """
name: dots
source: {type: shapes, train: 40, test: 10}
splits: {names: [train, test]}
conversion: {shards: {count: {train: 2, test: 1}}}
validation: {sample: 20}
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Command:
    """Runs `imagemill` in a folder that is a project of its own.

    Attributes:
        variables: What its environment holds beyond ours, of whose IMAGEMILL_ variables it sees none.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.variables: dict[str, str] = {}
        self.specs = project / "dags" / "datasets"
        self.specs.mkdir(parents=True)
        self.home = project / ".imagemill"

    def spec(self, name: str, text: str) -> Path:
        path = self.specs / f"{name}.yaml"
        path.write_text(text)
        return path

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Starts the command and returns its process."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IMAGEMILL_")}
        return subprocess.Popen(
            [sys.executable, "-m", "imagemill", *map(str, arguments)],
            cwd=self.project,
            env=environment | {"IMAGEMILL_SPECS": str(self.specs)} | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str | Path) -> Ended:
        with self.start(*arguments) as process:
            out, err = process.communicate()
        assert "Traceback" not in err, err
        return Ended(process.returncode, out, err)
