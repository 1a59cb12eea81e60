"""An example of a DAG that works with what a refresh publishes: it starts when any dataset has a new version.

Copy it, name your dataset's asset, and train where this one only counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, AssetAny, task

from imagemill.home import specs_dir
from imagemill.spec.file import LoadedSpec, load_all
from imagemill_airflow.tasks import published_asset


@task(multiple_outputs=False)
def read_publications(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """Opens exactly the versions that the events name; `CURRENT` may have moved on since."""
    from imagemill.catalog import read_manifest

    read = []
    for asset, events in triggering_asset_events.items():
        for event in events:
            manifest = read_manifest(event.extra["path"])
            if manifest.fingerprint != event.extra["fingerprint"]:
                raise ValueError(f"{event.extra['path']} is not what was published")
            read.append({"dataset": asset.name, **event.extra, "records": manifest.records})
    return read


published = [
    published_asset(each.spec)
    for each in load_all(specs_dir(start=Path(__file__).parents[1]))
    if isinstance(each, LoadedSpec)
]
if published:
    with DAG(
        "example_consumer",
        description="Reads each new version (an example; paused until you want it)",
        doc_md=__doc__,
        schedule=AssetAny(*published),
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=True,
        tags=["imagemill", "example"],
        default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    ):
        read_publications()
