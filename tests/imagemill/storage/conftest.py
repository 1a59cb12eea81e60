from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from imagemill.storage import open_store
from imagemill.storage.settings import ObjectStoreSettings
from tests.support.gcs.server import Emulator, emulator

_numbers = itertools.count()


@pytest.fixture(scope="session")
def gcs(tmp_path_factory):
    # In memory, fake-gcs-server holds what no folder does: `x` beside `x/y`, names of 1,024 bytes.
    with emulator(tmp_path_factory.mktemp("gcs"), backend="memory") as running:
        yield running


class Service:
    """The emulator, healthy again, with a new bucket for each test and settings that do not wait long."""

    def __init__(self, gcs: Emulator) -> None:
        gcs.strike()
        self.gcs = gcs
        self.settings = ObjectStoreSettings(
            gcs_endpoint=gcs.url,
            gcs_emulator=True,
            storage_deadline_seconds=20,
            storage_pause_seconds=0.01,
            storage_attempt_seconds=5,
        )
        self.bucket = self.make_bucket()

    def make_bucket(self) -> str:
        return self.gcs.make_bucket(f"bucket-{next(_numbers)}")

    def store(self, prefix: str = "", *, bucket: str = "", **settings):
        """Opens a prefix of the test's bucket, or of another one."""
        uri = f"{bucket or self.bucket}/{prefix}"
        return open_store(uri, settings=replace(self.settings, **settings))


@pytest.fixture
def service(gcs):
    return Service(gcs)


@pytest.fixture(scope="module")
def shared_service(gcs):
    """A service whose bucket all tests of a module share."""
    return Service(gcs)
