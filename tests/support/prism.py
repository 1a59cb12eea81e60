"""Beam's Prism runner as pipeline options."""

from __future__ import annotations

from pathlib import Path


def prism_options(binary: Path) -> list[str]:
    """Returns the options of a pipeline whose launcher starts Prism on a free port, is its worker, and ends it."""
    return ["--runner=PrismRunner", f"--prism_location={binary}"]
