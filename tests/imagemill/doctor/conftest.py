import pytest

from tests.support.command import Command
from tests.support.doctor import BUCKET
from tests.support.gcs.server import emulator


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=[BUCKET]) as running:
        yield running


@pytest.fixture
def command(tmp_path, gcs):
    gcs.strike()
    found = Command(tmp_path)
    found.variables = {"STORAGE_EMULATOR_HOST": gcs.url, "IMAGEMILL_STORAGE_PAUSE_SECONDS": "0.01"}
    return found
