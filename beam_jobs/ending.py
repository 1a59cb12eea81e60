"""Ends a job on a cluster when its launcher is told to end, or loses sight of it: by itself the job would run on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import httpx
from apache_beam.runners.runner import PipelineResult

_PATIENCE_SECONDS = 5.0
"""For each answer. Airflow's own patience is shorter: it kills a task five seconds after asking it to end."""

_OVER = frozenset({"FINISHED", "FAILED", "CANCELED"})
_log = logging.getLogger(__name__)


class Stopped(BaseException):
    """A signal told this process to end; its message is the signal's name. Nothing that catches errors catches it."""


@contextmanager
def signals_raise() -> Iterator[None]:
    """Makes an interrupt and a termination raise `Stopped`, once: then they end this process as ever."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def cancel(result: PipelineResult) -> None:
    """Asks the job server to cancel a job, which may be gone, or the server."""
    try:
        result.cancel()
    except Exception as error:  # of any kind: this is the last that is done
        _log.warning("the job server cancelled nothing: %s", error)


def cancel_on_flink(master: str, name: str) -> None:
    """Cancels the jobs of a name that live on Flink; does nothing where it is not known which Flink that is.

    Beam's job server, asked to cancel, forgets the job and leaves it running there (seen with 2.70).

    Args:
        master: What `--flink_master` says: an address, or something in brackets.
        name: The jobs' name.
    """
    if master.startswith("["):
        return
    address = master if "://" in master else f"http://{master}"
    try:
        with httpx.Client(base_url=address, timeout=_PATIENCE_SECONDS, trust_env=False) as flink:
            for job in flink.get("/jobs/overview").raise_for_status().json()["jobs"]:
                if job["name"] == name and job["state"] not in _OVER:
                    flink.patch(f"/jobs/{job['jid']}", params={"mode": "cancel"}).raise_for_status()
                    _log.warning("cancelled the job %s (%s) on Flink", job["jid"], name)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        _log.warning("a job %s may still run on Flink at %s, which cannot be asked: %s", name, master, error)
