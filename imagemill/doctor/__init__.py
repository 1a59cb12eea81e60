"""What `imagemill doctor` does: looks at an installation, one small check after the other, and says what to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from imagemill.doctor import airflow, jobs, machine, packages, places, specs
from imagemill.doctor.finding import Faulty, Finding, exit_code, skipped
from imagemill.doctor.installation import Installation, installation
from imagemill.spec import DatasetSpec
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.storage.uri import is_local

__all__ = ["Finding", "Installation", "examine", "exit_code", "installation"]


def examine(
    found: Installation, *, write: bool = True, needed_bytes: int = machine.GIB, look_at_airflow: bool = True
) -> Iterator[Finding]:
    """Yields what every check finds, as soon as it is known.

    Args:
        found: The installation.
        write: Write, read and delete a small object in each bucket.
        needed_bytes: Free space that a refresh may take.
        look_at_airflow: Look at Airflow too, which takes some seconds.
    """
    yield from packages.check_python()
    yield from packages.check_packages()
    yield from packages.check_parts()
    files = [*(each.path for each in found.datasets), *(each.path for each in found.broken)]
    yield from machine.check_variables(found.environment, files)
    yield from machine.check_folder(found.home)
    yield from machine.check_disk(found.home, needed=needed_bytes, why="--free sets it")
    yield from specs.check_specs(found.datasets, found.broken)
    reachable = yield from _service(found)
    for spec in found.specs:
        yield from _dataset(spec, found.settings, reachable=reachable, write=write)
    if look_at_airflow:
        yield from airflow.check_airflow(found.folder, found.home)


def _service(found: Installation) -> Generator[Finding, None, bool]:
    """Yields what is to be said of Google's service or its stand-in; returns whether it can be asked more."""
    if "gs" not in found.schemes:
        return True
    try:
        answer = machine.ask_service(found.settings)
    except Faulty as problem:
        yield problem.finding
        return False
    yield from machine.check_emulator(found.settings)
    yield from machine.check_clock(answer)
    return True


def _dataset(spec: DatasetSpec, settings: ObjectStoreSettings, *, reachable: bool, write: bool) -> Iterator[Finding]:
    yield from _guarded(lambda: places.check_source(spec, settings))
    yield from _guarded(lambda: jobs.check_job(spec, emulator=settings.gcs_emulator))
    for name in ("staging", "output"):
        place, check = getattr(spec.locations, name), f"{name} {spec.name}"
        if is_local(place) or reachable:
            yield from _guarded(_location(check, place, settings, write=write))
        else:
            yield skipped(check, f"{place} is out of reach")
    if is_local(spec.locations.output) or reachable:
        yield from _guarded(lambda: places.check_pointer(spec, settings))


def _location(check: str, place: str, settings: ObjectStoreSettings, *, write: bool) -> Callable[[], Iterator[Finding]]:
    return lambda: places.check_location(check, place, settings, write=write)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yields what a check finds; the one that ends it is the last."""
    try:
        yield from check()
    except Faulty as problem:
        yield problem.finding
