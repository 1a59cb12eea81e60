"""Counters of a job as a person and a machine see them."""

import pytest

from imagemill_airflow.progress import Progress

PLAN = {"rows": 60_000, "shards": {"train": 12, "test": 4}}


def test_counters_are_added_up():
    counters = {"rows": 9_000, "records": 8_990, "rejected_missing": 3, "rejected_truncated": 2, "duplicates": 5}
    progress = Progress.of(PLAN, counters | {"shards": 3, "record_bytes": 25_690_112, "something": 7})
    assert str(progress) == (
        "3 of 16 shards, 8,990 records (24.5 MiB), 5 rejects, 5 duplicates; 9,000 of 60,000 rows read"
    )
    assert Progress(**progress.to_json()) == progress


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 << 40, "3.0 TiB"), (3 << 50, "3072.0 TiB")],
)
def test_sizes_have_units(size, said):
    assert f"({said})" in str(Progress(bytes=size))


def test_a_job_that_has_counted_nothing_is_at_its_beginning():
    assert str(Progress.of(PLAN, {})).startswith("0 of 16 shards")
