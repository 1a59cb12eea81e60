"""Names imagemill's plugin where this folder is Airflow's plugins folder; an installed imagemill has an entry point."""

from imagemill_airflow.plugin import ImagemillPlugin

__all__ = ["ImagemillPlugin"]
