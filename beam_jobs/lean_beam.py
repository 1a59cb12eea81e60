"""Imports Beam without the connectors that this job never uses; imported before everything else of Beam.

Beam imports pandas, MongoDB's and Google's clients and others wherever it finds them installed, and does without them
where it does not. Beside Airflow they all are installed, and cost the job more time than converting 30,000 images.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import LazyLoader, find_spec, module_from_spec

OPTIONAL = (
    "pandas",
    "pymongo",
    "google.cloud.bigquery",
    "google.cloud.bigtable",
    "google.cloud.pubsub",
    "google.cloud.spanner",
    "google.cloud.storage",
    "apache_beam.io.gcp.bigquery",
)
"""What Beam guards by `except ImportError`."""

LATE = ("google.cloud.dataflow",)
"""What the runner of that name uses, and Beam imports for every runner."""


def import_beam() -> None:
    """Imports Beam as if the optional packages were not installed; afterwards they can be imported as ever."""
    for name in LATE:
        _import_when_used(name)
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail; typeshed knows modules only
    warnings = logging.root.manager.disable
    logging.disable(logging.WARNING)  # Beam says of some what it does without them
    try:
        import_module("apache_beam")
    finally:
        logging.disable(warnings)
        for name in hidden:
            del sys.modules[name]


def _import_when_used(name: str) -> None:
    """Puts a module in its place that is imported when somebody looks into it; does nothing where there is none."""
    parent, _, child = name.rpartition(".")
    try:
        spec = find_spec(name)
    except ImportError:  # of the parent
        return
    if name in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = LazyLoader(spec.loader)
    module = sys.modules[name] = module_from_spec(spec)
    setattr(sys.modules[parent], child, module)  # or the next import statement looks into it
    spec.loader.exec_module(module)


def load_cloud_storage() -> None:
    """Gives Beam its file system for gs://, where its packages are installed: most runners stage files through it."""
    with suppress(ImportError):
        import_module("apache_beam.io.gcp.gcsfilesystem")


import_beam()
