"""Watches a job that tells nothing until its end: what it has written is seen in the version's folder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagemill.errors import ImagemillError
from imagemill.manifest import MANIFEST, parse_manifest
from imagemill.storage import open_store
from imagemill_airflow.progress import Progress, size_text

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 10.0
"""Pause between two listings of the folder."""

_LAST_LOOK_SECONDS = 1.0
"""Airflow kills a task five seconds after asking it to end: its job must not wait for a storage that hangs."""

OnProgress = Callable[[Progress], None]


@contextmanager
def watched_shards(plan: Mapping[str, Any], on_progress: OnProgress) -> Iterator[None]:
    """Tells of shards as they are written, as long as the block runs; of all rows where it ends well.

    Args:
        plan: What `plan_conversion` returned.
        on_progress: Called from a thread of its own, at the end from the caller's.
    """
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(plan, on_progress, ended), name="watch-shards", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join(_LAST_LOOK_SECONDS)
    whole = _whole(plan)
    log.info("%s", whole)
    on_progress(whole)


def _watch(plan: Mapping[str, Any], on_progress: OnProgress, ended: threading.Event) -> None:
    told = 0
    while not ended.wait(LOOK_EVERY_SECONDS):
        try:
            seen = _written(plan)
        except ImagemillError as error:
            log.warning("%s (the job goes on meanwhile)", error)
            continue
        if seen.shards != told and not ended.is_set():
            told = seen.shards
            log.info("%s of %s shards are written (%s)", f"{told:,}", f"{seen.of_shards:,}", size_text(seen.bytes))
            on_progress(seen)


def _written(plan: Mapping[str, Any]) -> Progress:
    sizes = [each.size for each in open_store(plan["version_uri"]).list() if ".tfrecord-" in each.key]
    return Progress.of(plan, {"shards": len(sizes), "record_bytes": sum(sizes)})


def _whole(plan: Mapping[str, Any]) -> Progress:
    uri = plan["version_uri"]
    manifest = parse_manifest(open_store(uri).read(MANIFEST), where=f"{uri}/{MANIFEST}")
    return Progress(
        rows=manifest.rows,
        records=manifest.records,
        rejected=manifest.rejected,
        duplicates=manifest.duplicates,
        bytes=sum(shard.bytes for shard in manifest.shards),
        shards=len(manifest.shards),
        of_shards=sum(plan["shards"].values()),
        of_rows=plan["rows"],
    )
