"""Whether a publication makes an asset event: once for each version that training comes to see."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from imagemill import steps
from imagemill.spec.file import find_spec
from imagemill.steps.results import Published
from imagemill_airflow.tasks import publish, published_asset
from imagemill_airflow.trigger_form import trigger_form

SPEC = "name: pets\nsource: {type: folder, root: /images}\n"
PLAN = {"version": "new", "limited": False}
NEW = {"version": "new", "path": "/out/versions/new", "rows": 3, "fingerprint": "f"}


class Events(list):
    """An asset's events, the newest last, with the methods of Airflow's accessor."""

    def ascending(self, wanted):
        return self if wanted else Events(reversed(self))

    def limit(self, count):
        return Events(self[:count])


@pytest.mark.parametrize(
    ("previous", "versions", "told"),
    [
        pytest.param("old", ["old"], True, id="it is new"),
        pytest.param("old", ["new", "old", "new"], True, id="it was rolled back, and is published again"),
        pytest.param("new", ["old", "new"], False, id="the task was cleared"),
        pytest.param("new", ["new", "old"], True, id="a try died after it moved the pointer back to it"),
        pytest.param("new", [], True, id="a try died after the first publication"),
    ],
)
def test_consumers_are_told_of_each_publication_once(monkeypatch, tmp_path, previous, versions, told):
    path = tmp_path / "pets.yaml"
    path.write_text(SPEC)
    counts = {"records": 3, "rejected": 0, "duplicates": 0, "shards": 1}
    moved = Published(dataset="pets", previous=previous, **NEW, **counts)
    monkeypatch.setattr(steps, "publish", lambda *_, **__: moved)
    asset = published_asset(SimpleNamespace(name="pets"))
    task = SimpleNamespace(outlets=[asset])
    event = SimpleNamespace(extra={})
    context = {
        "ti": SimpleNamespace(task=task, xcom_pull=lambda **_: None),
        "dag_run": SimpleNamespace(dag_id="refresh_pets", run_id="one"),
        "params": {name: param.resolve() for name, param in trigger_form(find_spec(str(path))).items()},
        "inlet_events": {asset: Events(SimpleNamespace(extra={"version": version}) for version in versions)},
        "outlet_events": {asset: event},
    }
    publish.function(str(path), PLAN, **context)
    assert (task.outlets, event.extra) == (([asset], NEW) if told else ([], {}))
