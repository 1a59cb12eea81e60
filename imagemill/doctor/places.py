"""Checks of where a dataset's bytes are: its source, its locations, its pointer."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from imagemill.doctor.finding import Finding, as_finding, fault, good
from imagemill.doctor.installation import nearest_folder
from imagemill.spec import CifarSource, DatasetSpec, FolderSource, IndexSource
from imagemill.storage import ABSENT, Store, open_store
from imagemill.storage.settings import ObjectStoreSettings
from imagemill.storage.uri import is_local, parse

_ROLL_BACK = "`imagemill versions NAME` lists what there is; `imagemill rollback NAME` publishes the last intact one"


def check_source(spec: DatasetSpec, settings: ObjectStoreSettings) -> Iterator[Finding]:
    """Checks that the source is there; what comes from the web is not fetched."""
    source, check = spec.source, f"source {spec.name}"
    place = ""
    if isinstance(source, FolderSource):
        place = source.root
    elif isinstance(source, CifarSource) and not source.archive.startswith(("https:", "http:")):
        place = source.archive
    elif isinstance(source, IndexSource):
        place = source.index
    if not place:
        yield good(check, "made or fetched by the refresh itself")
    elif is_local(place):
        yield _local_source(check, Path(parse(place).path))
    else:
        folder, _, name = place.rpartition("/")
        with as_finding(check):
            there = open_store(folder, settings=settings).stat(name) is not None
        yield good(check, f"{place} is there") if there else _missing(check, place)


def _local_source(check: str, path: Path) -> Finding:
    nearest = nearest_folder(path)
    if nearest.is_dir() and not os.access(nearest, os.X_OK):
        return fault(check, f"{nearest} cannot be entered", f"grant this user (id {os.getuid()}) the permission")
    if nearest != path:
        return _missing(check, str(path))
    if not os.access(path, os.R_OK):
        return fault(check, f"{path} cannot be read", f"grant this user (id {os.getuid()}) read permission")
    return good(check, f"{path} is there")


def _missing(check: str, place: str) -> Finding:
    return fault(check, f"{place} is not there", "check its spelling in the spec, mount it, or fetch it first")


def check_location(name: str, uri: str, settings: ObjectStoreSettings, *, write: bool) -> Iterator[Finding]:
    """Checks that a refresh can work in a location.

    A folder is looked at; in a bucket an object is listed, written, read back and deleted.

    Args:
        name: Whose location it is, for the finding.
        uri: The location.
        settings: How to reach it.
        write: Write and delete a small object of the doctor's own.
    """
    if is_local(uri):
        yield _local_location(name, Path(parse(uri).path))
        return
    with as_finding(name):
        store = open_store(uri, settings=settings)
        store.require_target()
        next(iter(store.list()), None)
        if write:
            _probe(store)
    yield good(name, f"{uri} can be {'listed, written, read and deleted from' if write else 'listed'}")


def _local_location(name: str, path: Path) -> Finding:
    nearest = nearest_folder(path)
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return good(name, f"{path} can be written")
    problem = "cannot be written" if nearest.is_dir() else "is a file"
    return fault(name, f"{nearest} {problem}", f"grant this user (id {os.getuid()}) the permission, or move {path}")


def _probe(store: Store) -> None:
    key, content = f"doctor-{uuid.uuid4().hex}", b"written by imagemill doctor; it may be deleted"
    store.write(key, content, if_generation=ABSENT)
    try:
        store.read(key)
    finally:
        store.delete(key)


def check_pointer(spec: DatasetSpec, settings: ObjectStoreSettings) -> Iterator[Finding]:
    """Checks that training finds the published version, and that it is the one that was published."""
    from imagemill.catalog import Catalog

    check, output = f"published {spec.name}", spec.locations.output
    with as_finding(check, advice=_ROLL_BACK.replace("NAME", spec.name)):
        published = Catalog(output, store=open_store(output, settings=settings)).current()
    yield good(check, published.uri if published else "nothing yet")
