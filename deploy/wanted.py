"""Prints what pyproject.toml (in this folder) wants installed: the core, and the extras named as arguments."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras = (project["optional-dependencies"][name] for name in sys.argv[1:])
print(*project["dependencies"], *(each for extra in extras for each in extra), sep="\n")
