"""Measures imagemill side by side with other ways to do the same: `python -m benchmarks [--quick] [--case NAME]`."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.report import write_report
from benchmarks.workshop import Workshop

CASES = ("conversion", "workers", "index_rows", "large_image", "object_store", "sync", "diff", "refresh")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small inputs, one run each: to see that it works")
    parser.add_argument("--case", action="append", choices=CASES, help="only this case; repeat for more")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contestant (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables (default: benchmarks/results)")
    options = parser.parse_args()
    out = options.out.absolute()
    workshop = Workshop(folder=out / "work", repeats=1 if options.quick else options.repeats, quick=options.quick)
    machine = describe_machine()
    measured = [import_module(f"benchmarks.cases.{name}").run(workshop) for name in options.case or CASES]
    page = write_report(out, machine, measured)
    print(page.read_text())


if __name__ == "__main__":
    main()
