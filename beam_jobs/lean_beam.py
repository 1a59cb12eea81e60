"""Imports Beam without the connectors that this job never uses; imported before everything else of Beam.

Beam imports pandas, MongoDB's and Google's clients and others wherever it finds them installed, and does without them
where it does not. Beside Airflow they all are installed, and cost the job more time than converting 30,000 images.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib import import_module

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


def import_beam() -> None:
    """Imports Beam as if the optional packages were not installed; afterwards they can be imported as ever."""
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


def load_cloud_storage() -> None:
    """Gives Beam its file system for gs://, where its packages are installed: most runners stage files through it."""
    with suppress(ImportError):
        import_module("apache_beam.io.gcp.gcsfilesystem")


import_beam()
