"""Which Beam runner a spec's `runner` means, and which pipeline options it starts from. Nothing of Beam is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagemill.errors import CallerError

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
        raise CallerError(
            f"runner {runner!r} needs {', '.join(missing)}; add it to conversion.runner_options in the spec"
        )
    return chosen


def worker_processes(*, rows: int, image_bytes: int, shards: int, cpus: int) -> int:
    """Returns how many processes a conversion uses on this machine where nobody has said; 1 where more do not pay."""
    if rows < _ROWS_WORTH_PROCESSES and image_bytes < _BYTES_WORTH_PROCESSES:
        return 1
    return max(1, min(cpus, shards))


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
