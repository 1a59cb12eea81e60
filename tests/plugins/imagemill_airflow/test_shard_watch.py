"""What a task tells of a job that tells nothing itself: seen in the version's folder, where shards appear whole."""

from __future__ import annotations

import logging
import queue

import pytest

from imagemill.errors import TemporaryFault
from imagemill.rows import Row
from imagemill.storage import open_store
from imagemill_airflow import shard_watch
from imagemill_airflow.progress import Progress, size_text
from imagemill_airflow.shard_watch import watched_shards
from tests.support.versions import build_version, stage

PATIENCE_SECONDS = 30.0


@pytest.fixture
def version(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_watch, "LOOK_EVERY_SECONDS", 0.01)
    rows = stage(tmp_path / "images", [Row(f"{number}.png", "cat", "train", "") for number in range(9)])
    return build_version(tmp_path / "made", tmp_path / "images", rows, labels=["cat"], shards={"train": 2}).folder


@pytest.fixture
def plan(tmp_path):
    return {"version_uri": str(tmp_path / "written"), "rows": 9, "shards": {"train": 2}}


def move(version, plan, name):
    (version / name).rename(f"{plan['version_uri']}/{name}")


def test_shards_are_told_as_they_appear_and_all_rows_at_the_end(version, plan, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="imagemill_airflow")
    (tmp_path / "written").mkdir()
    shards = sorted(path.name for path in version.glob("*.tfrecord-*"))
    sizes = [(version / name).stat().st_size for name in shards]
    told: queue.Queue[Progress] = queue.Queue()
    with watched_shards(plan, told.put):
        for number, name in enumerate(shards, start=1):
            move(version, plan, name)
            seen = told.get(timeout=PATIENCE_SECONDS)
            assert (seen.shards, seen.of_shards, seen.bytes) == (number, 2, sum(sizes[:number]))
        for path in list(version.iterdir()):
            move(version, plan, path.name)
    last = told.get_nowait()
    assert last == Progress(rows=9, records=9, bytes=sum(sizes), shards=2, of_shards=2, of_rows=9)
    assert f"1 of 2 shards are written ({size_text(sizes[0])})" in caplog.text
    assert str(last) in caplog.text


def test_a_job_that_fails_is_no_longer_watched_and_keeps_its_own_reason(plan):
    told: queue.Queue[Progress] = queue.Queue()
    with pytest.raises(ValueError, match="torn"), watched_shards(plan, told.put):
        raise ValueError("torn")
    assert told.empty()


def test_a_storage_that_is_out_of_reach_for_a_moment_is_looked_at_again(version, plan, monkeypatch, caplog):
    version.rename(plan["version_uri"])
    answers = iter([TemporaryFault("503")])

    def reach(uri):
        for fault in answers:
            raise fault
        return open_store(uri)

    monkeypatch.setattr(shard_watch, "open_store", reach)
    told: queue.Queue[Progress] = queue.Queue()
    with watched_shards(plan, told.put):
        assert told.get(timeout=PATIENCE_SECONDS).shards == 2
    assert "503 (the job goes on meanwhile)" in caplog.text
