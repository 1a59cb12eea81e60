"""Writes what was measured: a page for people, JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases.case import Measured
from benchmarks.contest import Result

HEAD = "| | net s | whole s | CPU s | records/s net | peak MiB |\n| --- | ---: | ---: | ---: | ---: | ---: |"


def write_report(folder: Path, machine: dict[str, str], cases: Sequence[Measured]) -> Path:
    """Writes `benchmark.md` and `benchmark.json`; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "benchmark.md"
    page.write_text(to_markdown(machine, cases))
    (folder / "benchmark.json").write_text(json.dumps(to_json(machine, cases), indent=1) + "\n")
    return page


def to_markdown(machine: dict[str, str], cases: Sequence[Measured]) -> str:
    parts = [
        "# Benchmarks",
        "Medians of runs in turns. Net: from the end of the imports to the end of the work. Whole: the process. "
        "Peak: resident memory of the largest process.",
        "; ".join(f"{name}: {value}" for name, value in machine.items()),
    ]
    for case in cases:
        parts += [f"## {case.title}", case.about, _results(case)]
        if case.ratios:
            parts.append(_ratios(case))
    return "\n\n".join(parts) + "\n"


def to_json(machine: dict[str, str], cases: Sequence[Measured]) -> dict[str, object]:
    described = [
        asdict(case)
        | {
            "results": [asdict(result) | {"medians": _medians(result)} for result in case.results],
            "ratios": [asdict(ratio) | {"holds": ratio.holds} for ratio in case.ratios],
        }
        for case in cases
    ]
    return {"machine": machine, "cases": described}


def _medians(result: Result) -> dict[str, float]:
    """Returns the median of each measure that was taken."""
    medians = {name: result.median(name) for name in ("net_seconds", "whole_seconds", "cpu_seconds", "peak_bytes")}
    return {name: value for name, value in medians.items() if not math.isnan(value)}


def _results(case: Measured) -> str:
    lines = [
        f"| {result.name} | {result.median('net_seconds'):.2f} | {result.median('whole_seconds'):.2f} "
        f"| {result.median('cpu_seconds'):.2f} | {result.rate:,.0f} | {result.median('peak_bytes') / (1 << 20):,.0f} |"
        for result in case.results
    ]
    return "\n".join([HEAD, *lines]).replace(" nan ", " - ")


def _ratios(case: Measured) -> str:
    lines = [
        f"| {ratio.what} | {ratio.value:.2f} | {'≥' if ratio.at_least else '≤'} {ratio.target:g} "
        f"| {'yes' if ratio.holds else 'no'} |"
        for ratio in case.ratios
    ]
    return "\n".join(["| ratio | measured | target | holds |\n| --- | ---: | ---: | --- |", *lines])
