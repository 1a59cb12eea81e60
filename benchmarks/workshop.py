"""Where the benchmarks work: trees of pictures, made once and kept, and plans over them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contest import Contestant

DISTINCT = 60_000


@dataclass(frozen=True)
class Workshop:
    """One run's settings.

    Attributes:
        folder: Holds inputs and outputs; inputs are used again by the next run.
        repeats: Runs of each contestant.
        quick: Everything at a hundredth of its size, to see that it works.
    """

    folder: Path
    repeats: int
    quick: bool

    def scaled(self, count: int) -> int:
        return max(10, count // 200) if self.quick else count

    def tree(self, rows: int, *, distinct: int = DISTINCT) -> Path:
        """Returns a tree of pictures."""
        folder = self.folder / "inputs" / f"{rows}-of-{min(rows, distinct)}"
        if not folder.exists():
            print(f"drawing {folder.name} pictures", file=sys.stderr, flush=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            command = ["-m", "benchmarks.pictures", str(folder), f"--rows={rows}", f"--distinct={distinct}"]
            # A process of its own: this one stays small, for a child's peak memory begins with its parent's.
            subprocess.run([sys.executable, *command], check=True)
        return folder

    def planner(self, name: str, tree: Path | str, **settings: Any) -> Contestant:
        """Returns the planning of a conversion into the version `name`."""
        version = self.version(name)
        chosen = {"split_fractions": {"train": 1.0}, **settings}
        module = "benchmarks.competitors.imagemill_plan"
        return Contestant(f"{name}: plan", module, [tree, version, json.dumps(chosen)], version)

    def job(self, name: str, *options: str) -> Contestant:
        """Returns the conversion of a planned version."""
        version = self.version(name)
        arguments = [version / "plan.json", *options]
        return Contestant(name, "benchmarks.competitors.imagemill_job", arguments, version, keep=["plan.json"])

    def version(self, name: str) -> Path:
        return self.folder / "outputs" / name.replace(" ", "-").replace(",", "")
