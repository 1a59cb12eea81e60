"""When a refresh runs by itself: at times, after other assets, both, or never."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable
from airflow.sdk.definitions.asset import BaseAsset

from imagemill.spec import DatasetSpec

Schedule = str | BaseAsset | AssetOrTimeSchedule | None


def schedule_of(spec: DatasetSpec) -> Schedule:
    """Returns the `schedule` of a spec's DAG."""
    if not spec.after:
        return spec.schedule
    assets = AssetAny(*(Asset.ref(uri=name) if "://" in name else Asset.ref(name=name) for name in spec.after))
    if spec.schedule is None:
        return assets
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(spec.schedule, timezone="UTC"), assets=assets)
