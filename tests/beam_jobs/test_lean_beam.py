import json
import subprocess
import sys

from beam_jobs.lean_beam import OPTIONAL

SCRIPT = """
import json, sys
import beam_jobs.convert_images
loaded = [name for name in sys.argv[1:] if name in sys.modules]
from apache_beam.io.filesystems import FileSystems
from beam_jobs.lean_beam import load_cloud_storage
load_cloud_storage()
scheme = FileSystems.get_filesystem("gs://bucket/object").scheme()
from importlib import import_module
later = [import_module(name).__name__ for name in ("pandas", "google.cloud.bigquery")]
from apache_beam.runners.runner import create_runner
runners = [type(create_runner(name)).__name__ for name in ("FnApiRunner", "PrismRunner", "DataflowRunner")]
print(json.dumps([loaded, later, runners, scheme]))
"""


def test_the_job_starts_without_connectors_and_hides_them_from_nobody_later():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *OPTIONAL, "imagemill.spec"], capture_output=True, text=True, check=True
    )
    loaded, later, runners, scheme = json.loads(ended.stdout)
    assert loaded == []
    assert scheme == "gs"
    assert later == ["pandas", "google.cloud.bigquery"]
    assert runners == ["FnApiRunner", "PrismRunner", "DataflowRunner"]
    assert ended.stderr == ""


def test_a_package_that_is_loaded_already_stays():
    script = "import pandas\nimport beam_jobs.convert_images\nimport sys\nassert sys.modules['pandas'] is pandas"
    subprocess.run([sys.executable, "-c", script], check=True)
