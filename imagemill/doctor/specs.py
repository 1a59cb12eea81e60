"""Checks of the spec files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagemill.doctor.finding import Finding, fault, good
from imagemill.doctor.packages import DISTRIBUTION, installed_version
from imagemill.spec.file import BrokenSpec, Fault, LoadedSpec

_UNKNOWN = ("There is no key", "There is no kind of source", "is none of the choices")
"""How a fault begins, or ends, that a spec for a newer imagemill would have too."""


def check_specs(datasets: Sequence[LoadedSpec], broken: Sequence[BrokenSpec]) -> Iterator[Finding]:
    """Says of each broken spec what is wrong, and counts the good ones."""
    for each in broken:
        for one in each.error.faults:
            yield fault(f"spec {each.name}", " ".join(str(one).split()), _advice(one))
    if datasets:
        yield good("specs", f"{len(datasets)} can be read: {', '.join(each.name for each in datasets)}")
    elif not broken:
        yield fault("specs", "there is no spec", "write dags/datasets/NAME.yaml; README.md shows one")


def _advice(one: Fault) -> str:
    if not any(text in one.problem for text in _UNKNOWN):
        return ""
    version = installed_version(DISTRIBUTION)
    this = f"this one is {version}" if version else "deploy it anew"
    return f"where the spec was written for a newer imagemill, upgrade the installation ({this})"
