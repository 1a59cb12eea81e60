"""An Airflow for tests, in a folder of its own. Import this before anything of Airflow: it reads its settings once."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from imagemill_airflow.environment import airflow_environment

ROOT = Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="imagemill-airflow-"))
SPECS = HOME / "specs"
SPECS.mkdir()
OWNER = os.getpid()

SETTINGS = airflow_environment(specs=SPECS, home_folder=HOME, airflow_home=HOME / "airflow-local")

os.environ |= {name: value for name, value in SETTINGS.items() if name.startswith("AIRFLOW")}
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"


@atexit.register
def remove_home():
    if os.getpid() == OWNER:
        shutil.rmtree(HOME, ignore_errors=True)
