"""How commands speak: results for people on a terminal, JSON for machines, progress for whoever watches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imagemill.errors import ImagemillError
from imagemill.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

F = TypeVar("F", bound=Callable[..., Any])

LOG_EVERY_SECONDS = 5.0
"""Pause between two plain progress lines where nobody sits at a terminal."""


def json_option(function: F) -> F:
    """Adds `--json`, passed on as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for machines.")(function)


def show(result: Mapping[str, Any], *, as_json: bool, text: str) -> None:
    """Prints a command's result on stdout: JSON or the text for a person."""
    click.echo(json.dumps(result, indent=1, ensure_ascii=False) if as_json else text)


def report_error(error: ImagemillError) -> None:
    """Prints an error on stderr; as JSON where `--json` was asked for."""
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": {"family": error.family, "message": str(error)}}), err=True)
    else:
        click.echo(f"imagemill: {error}", err=True)


def progress(*, as_json: bool) -> Progress:
    """Returns a bar on a terminal and plain lines, now and then, in a log. Both go to stderr."""
    if sys.stderr.isatty() and not as_json:
        return _Bar()
    return _Lines()


class _Tally:
    """How much is done, and how fast."""

    def __init__(self, unit: str) -> None:
        self._unit, self._started = unit, time.monotonic()
        self._done = self._volume = 0

    def add(self, amount: int, volume: int) -> None:
        self._done += amount
        self._volume += volume

    def text(self, total: int | None = None) -> str:
        """Returns both for a person: `1,200 of 5,000 objects, 2.7 MiB (400 objects/s, 921.6 KiB/s)`."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        count = f"{self._done:,}" + (f" of {total:,}" if total is not None else "")
        volume, pace = (
            (f", {size(self._volume)}", f", {size(round(self._volume / seconds))}/s") if self._volume else ("", "")
        )
        return f"{count} {self._unit}{volume} ({self._done / seconds:,.0f} {self._unit}/s{pace})"


class _Bar:
    """A progress bar with rate and time left."""

    _bar: RichProgress
    _task: TaskID

    def begin(self, what: str, *, total: int | None, unit: str) -> None:
        from rich import progress as bars
        from rich.console import Console

        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.TextColumn("{task.fields[told]}"),
            bars.TimeElapsedColumn(),
            bars.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tally = _Tally(unit)
        self._task = self._bar.add_task(what, total=total, told=self._tally.text())
        self._bar.start()

    def advance(self, amount: int = 1, *, volume: int = 0) -> None:
        self._tally.add(amount, volume)
        self._bar.update(self._task, advance=amount, told=self._tally.text())

    def end(self) -> None:
        self._bar.stop()


class _Lines:
    """A line every few seconds, for logs."""

    def begin(self, what: str, *, total: int | None, unit: str) -> None:
        self._what, self._total, self._tally = what, total, _Tally(unit)
        self._next = time.monotonic() + LOG_EVERY_SECONDS

    def advance(self, amount: int = 1, *, volume: int = 0) -> None:
        self._tally.add(amount, volume)
        if time.monotonic() >= self._next:
            click.echo(f"{self._what}: {self._tally.text(self._total)}", err=True)
            self._next = time.monotonic() + LOG_EVERY_SECONDS

    def end(self) -> None:
        pass


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Lays rows out in aligned columns."""
    widths = [max(len(line[column]) for line in [headers, *rows]) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [headers, *rows]
    )


def size(count: int) -> str:
    """Writes a number of bytes for a person."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
