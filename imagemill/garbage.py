"""Python's cyclic garbage collector, while rows go through a process by the hundred thousand, and at its end."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEW_OBJECTS = 50_000
"""New objects between two collections: Python's own 700 means a hundred collections for each bucket of rows."""


@contextmanager
def few_collections() -> Iterator[None]:
    """Spares the collector what is no garbage: all that imports left, and rows, which are in no cycles."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def end_at_once() -> None:
    """Makes this process end without a search for garbage: its memory goes back whole.

    With Beam imported the search takes a quarter of a second, with TensorFlow or Airflow more than half a second.
    """
    atexit.register(gc.freeze)
