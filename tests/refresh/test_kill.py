"""kill -9 at any moment of a refresh: the next ends in the same bytes, and CURRENT names a whole version throughout."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from imagemill.catalog import Catalog, read_manifest
from tests.support.command import SPEC, Command

KILLS = 5
SEED = 7


def digests(version: str) -> dict[str, str]:
    """Returns the sha256 of the manifest and of every object it names."""
    folder, manifest = Path(version), read_manifest(version)
    names = ["manifest.json", *(entry.name for entry in manifest.files)]
    names += [name for shard in manifest.shards for name in (shard.name, shard.index.name)]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


class Watcher:
    """Looks at CURRENT all the time: it names nothing, or a version whose every object is there in full."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.looks = 0
        self.faults: list[str] = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            try:
                current = self._catalog.current()
                if current:
                    digests(current.uri)
                self.looks += 1
            except Exception as error:
                self.faults.append(repr(error))


def victims(process) -> list[psutil.Process]:
    """Returns the command and all that runs on its behalf: Airflow, the Beam job, encoders."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


@pytest.mark.timeout(900)
def test_killed_refreshes_end_in_the_bytes_of_an_undisturbed_one(imagemill, tmp_path):
    calm = Command(tmp_path)
    for command in (imagemill, calm):
        command.spec("dots", SPEC)
    started = time.monotonic()
    assert calm("refresh", "dots").code == 0
    seconds = time.monotonic() - started
    chance = random.Random(SEED)
    with Watcher(Catalog(str(imagemill.home / "datasets" / "dots"))) as watcher:
        for number in range(KILLS):
            process = imagemill.start("refresh", "dots")
            # Spread over the whole run: a kill point in every fifth of it.
            with contextlib.suppress(Exception):
                process.communicate(timeout=seconds * (number + chance.random()) / KILLS)
            if process.poll() is None:
                victim = chance.choice(victims(process))
                with contextlib.suppress(psutil.NoSuchProcess):
                    os.kill(victim.pid, signal.SIGKILL)
            process.communicate()
        last = imagemill("refresh", "dots")
    assert last.code == 0, last.err
    assert watcher.faults == []
    assert watcher.looks > 10
    assert digests(current_uri(imagemill)) == digests(current_uri(calm))


def current_uri(command: Command) -> str:
    current = Catalog(str(command.home / "datasets" / "dots")).current()
    assert current is not None
    return current.uri
