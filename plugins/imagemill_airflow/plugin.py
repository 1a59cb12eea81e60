"""How Airflow learns of this package: by its entry point where it is installed, or by a file in a plugins folder."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class ImagemillPlugin(AirflowPlugin):
    """Stands in *Admin, Plugins*, with what comes with it."""

    name = "imagemill"
