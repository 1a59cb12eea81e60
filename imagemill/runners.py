"""Which Beam runner a spec's `runner` means, and which pipeline options it starts from. Nothing of Beam is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from imagemill.errors import CallerError

if TYPE_CHECKING:
    from imagemill.spec import Conversion
    from imagemill.spec.dataflow import Dataflow

OptionValue = str | int | float | bool | list[str] | None

_RUNNERS = {
    # Not DirectRunner: that one tries a downloaded Prism first, so that what runs depends on the machine.
    "local": "FnApiRunner",
    "prism": "PrismRunner",
    "flink": "PortableRunner",
    "portable": "PortableRunner",
    "dataflow": "DataflowRunner",
}

_DEFAULTS: dict[str, dict[str, OptionValue]] = {
    "local": {"direct_num_workers": 1, "direct_running_mode": "in_memory"},
    "prism": {},
    "flink": {"environment_type": "LOOPBACK"},
    "portable": {"environment_type": "LOOPBACK"},
    "dataflow": {},
}

_ROWS_WORTH_PROCESSES = 20_000
_BYTES_WORTH_PROCESSES = 512 << 20
"""What one process converts in about a second; starting another takes half of one."""

_REQUIRED = {
    # Beam would download it, as for DirectRunner.
    "prism": ("prism_location",),
    "flink": ("job_endpoint",),
    "portable": ("job_endpoint",),
    "dataflow": ("project", "region", "temp_location"),
}


def beam_runner(runner: str) -> str:
    """Returns the name that Beam's `--runner` takes.

    Raises:
        CallerError: There is no such runner.
    """
    if runner not in _RUNNERS:
        raise CallerError(f"unknown runner {runner!r}; choose one of {', '.join(sorted(_RUNNERS))}")
    return _RUNNERS[runner]


def pipeline_options(runner: str, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Returns the Beam options of a run: the runner's own defaults, then the spec's; None takes a default away.

    Raises:
        CallerError: The runner is unknown, or an option that it cannot do without is missing.
    """
    beam_runner(runner)
    merged = {**_DEFAULTS[runner], **options}
    chosen: dict[str, OptionValue] = {name: value for name, value in merged.items() if value is not None}
    missing = [name for name in _REQUIRED.get(runner, ()) if not chosen.get(name)]
    if missing:
        section = "dataflow" if runner == "dataflow" else "runner_options"
        raise CallerError(f"runner {runner!r} needs {', '.join(missing)}; add it to conversion.{section} in the spec")
    return chosen


def conversion_options(
    conversion: Conversion, runner: str, more: Mapping[str, OptionValue] = MappingProxyType({})
) -> dict[str, OptionValue]:
    """Returns the Beam options with which a spec's conversion runs on a runner, which need not be the spec's own.

    Args:
        conversion: What the spec says.
        runner: The runner, in the spec's words.
        more: Options that win over the spec's.

    Raises:
        CallerError: An option that the runner cannot do without is missing.
    """
    cloud = dataflow_options(conversion.dataflow) if runner == "dataflow" else {}
    # Another runner's options mean nothing to this one, and may break it.
    own = conversion.runner_options if runner == conversion.runner else {}
    return pipeline_options(runner, {**cloud, **own, **more})


def dataflow_options(settings: Dataflow) -> dict[str, OptionValue]:
    """Returns what the spec says of Dataflow, as Beam's options."""
    autoscaling = {"throughput": "THROUGHPUT_BASED", "none": "NONE"}
    options: dict[str, OptionValue] = {
        "project": settings.project,
        "region": settings.region,
        "temp_location": settings.temp_location,
        "staging_location": settings.staging_location or settings.temp_location,
        "worker_zone": settings.zone,
        "service_account_email": settings.service_account,
        "impersonate_service_account": ",".join(settings.impersonate) or None,
        "network": settings.network,
        "subnetwork": settings.subnetwork,
        "no_use_public_ips": None if settings.public_ips else True,
        "machine_type": settings.machine_type,
        "disk_size_gb": settings.disk_gb,
        "num_workers": settings.num_workers,
        "max_num_workers": settings.max_num_workers,
        "autoscaling_algorithm": autoscaling[settings.autoscaling],
        "labels": [f"{key}={value}" for key, value in sorted(settings.labels.items())],
        "sdk_container_image": settings.worker_image,
        "extra_package": [settings.worker_wheel] if settings.worker_wheel else None,
        "experiments": list(settings.experiments),
        "dataflow_service_options": list(settings.service_options),
        "dataflow_endpoint": settings.endpoint,
    }
    return {name: value for name, value in options.items() if value not in (None, [])}


def worker_processes(*, rows: int, image_bytes: int, shards: int, cpus: int) -> int:
    """Returns how many processes a conversion uses on this machine where nobody has said; 1 where more do not pay."""
    if rows < _ROWS_WORTH_PROCESSES and image_bytes < _BYTES_WORTH_PROCESSES:
        return 1
    return max(1, min(cpus, shards))


def options_said(said: Iterable[str]) -> dict[str, OptionValue]:
    """Returns the options of texts like `name=value`; a name alone is a flag, one that is said again is a list."""
    values: dict[str, list[str]] = {}
    flags: dict[str, OptionValue] = {}
    for option in said:
        name, equals, value = option.partition("=")
        if equals:
            values.setdefault(name, []).append(value)
        else:
            flags[name] = True
    return {**flags, **{name: found[0] if len(found) == 1 else found for name, found in values.items()}}


def as_arguments(options: Mapping[str, OptionValue]) -> list[str]:
    """Returns the options as command-line arguments, sorted by name: a flag for True, one argument per list item."""
    return [argument for name in sorted(options) for argument in _arguments(name, options[name])]


def _arguments(name: str, value: OptionValue) -> Iterator[str]:
    if value is True:
        yield f"--{name}"
    elif isinstance(value, list):
        for item in value:
            yield f"--{name}={item}"
    elif value is not None and value is not False:
        yield f"--{name}={value}"
