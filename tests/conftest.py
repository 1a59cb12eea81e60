from __future__ import annotations

import pytest

from tests.support.tensorflow_oracle import read_shards_under


@pytest.fixture(scope="session", autouse=True)
def tensorflow_reads_every_shard(tmp_path_factory):
    """Fails the session, naming test and shard, if TensorFlow finds other records than were meant to be written."""
    yield
    read_shards_under(tmp_path_factory.getbasetemp())
