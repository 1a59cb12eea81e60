"""The spec as one run uses it: read once, changed by the trigger form, and kept until the run's end.

A spec that somebody edits in the middle of a run, or that differs between workers, so changes only the next run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from imagemill.errors import CallerError
from imagemill.spec import DatasetSpec

log = logging.getLogger(__name__)

FIRST_TASK = "prepare_images"
KEY = "spec"
"""XCom of the first task that holds the run's spec."""

_LIVE = frozenset({"alerts", "description", "about"})
"""What is told to people is always as the file has it now."""

_WORKERS = {"local": "worker_processes", "prism": "worker_processes", "flink": "parallelism", "portable": "parallelism"}
"""The job's option that says how many workers there are, by runner."""

_CLUSTERS = ("flink", "portable")
_REACHED: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "job_endpoint": (_CLUSTERS, {"job_endpoint": ""}),
    "worker_pool": (_CLUSTERS, {"environment_type": "EXTERNAL", "environment_config": ""}),
    "prism_location": (("prism",), {"prism_location": ""}),
}
"""By field of the form: the runners that need it, and Beam's options for it; an empty one takes what the field says.

Any other option is the spec's affair: some of Beam's name a program, which whoever may trigger a run could then start.
"""


def check_conf(conf: Mapping[str, Any] | None, params: Mapping[str, Any]) -> None:
    """Refuses what a run was triggered with, where the form knows nothing of it; Airflow would ignore it.

    Raises:
        CallerError: There is such a key.
    """
    if unknown := sorted(set(conf or ()) - set(params)):
        raise CallerError(
            f"this run was triggered with {', '.join(map(repr, unknown))}, which this DAG does not know; "
            f"its parameters are {', '.join(sorted(params))}"
        )


def chosen(spec: DatasetSpec, params: Mapping[str, Any]) -> DatasetSpec:
    """Returns the spec with what the trigger form says instead.

    Raises:
        CallerError: The form's choices and the spec do not go together.
    """
    if spec.approval == "required" != params["approval"]:
        raise CallerError(f"the spec {spec.name} requires an approval, and no run can do without; choose `required`")
    conversion = spec.conversion.model_dump(mode="json")
    runner = params["runner"]
    if runner != spec.conversion.runner:
        # Another runner's options mean nothing to this one, and may break it.
        conversion |= {"runner": runner, "runner_options": {}}
    conversion["verification"] = params["verification"]
    conversion["runner_options"] |= _reached(runner, params)
    if workers := count(params, "workers"):
        if runner == "dataflow":
            conversion["dataflow"] |= {"max_num_workers": workers}
        else:
            conversion["runner_options"] |= {_WORKERS[runner]: workers}
    try:
        return _parsed(spec.model_dump(mode="json") | {"conversion": conversion, "approval": params["approval"]})
    except ValidationError as error:
        said = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise CallerError(f"the trigger form's choices do not fit the spec {spec.name}: {said}") from None


def count(params: Mapping[str, Any], name: str) -> int | None:
    """Returns a number of the form, if it says one: JSON Schema takes 2.0 for an integer, and Beam does not."""
    return int(params[name]) if params[name] else None


def _reached(runner: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Returns Beam's options for what the form says of how a runner is reached."""
    options: dict[str, str] = {}
    for field, (runners, beam) in _REACHED.items():
        if not (given := params[field]):
            continue
        if runner not in runners:
            raise CallerError(
                f"the trigger form's {field} ({given}) is for the runner {' or '.join(runners)}, and this run's is "
                f"{runner}; empty it, or choose another runner"
            )
        options |= {name: value or given for name, value in beam.items()}
    return options


def keep(spec: DatasetSpec, ti: Any) -> None:
    """Keeps the spec for the tasks that follow."""
    ti.xcom_push(KEY, spec.model_dump(mode="json"))


def kept(spec: DatasetSpec, context: Mapping[str, Any]) -> DatasetSpec:
    """Returns the spec that the run began with; its log tells what has changed since.

    Args:
        spec: The spec as it is now, for what is always told as the file has it.
        context: Of the task that asks.

    Raises:
        CallerError: The first task has left nothing, as where a person marked it as done, and the form's choices do not
            fit the spec as it is now.
    """
    began = context["ti"].xcom_pull(task_ids=FIRST_TASK, key=KEY)
    if not isinstance(began, Mapping):
        return chosen(spec, context["params"])
    now = spec.model_dump(mode="json")
    run = _parsed({**began, **{name: now[name] for name in _LIVE}})
    _tell_changes(spec, run, context["params"])
    return run


def _tell_changes(spec: DatasetSpec, run: DatasetSpec, params: Mapping[str, Any]) -> None:
    try:
        now = chosen(spec, params)
    except CallerError:
        now = spec
    changes = list(_changes(run.model_dump(mode="json"), now.model_dump(mode="json")))
    if changes:
        log.warning("the spec has changed since this run began, which goes on as it began: %s", "; ".join(changes))


def _changes(began: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for name, value in began.items():
        other = now.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _changes(value, other, f"{at}{name}.")
        elif value != other:
            yield f"{at}{name} is {_short(value)} here, now {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _parsed(values: Mapping[str, Any]) -> DatasetSpec:
    # JSON mode knows that a list may stand for a tuple.
    return DatasetSpec.model_validate_json(json.dumps(values))
