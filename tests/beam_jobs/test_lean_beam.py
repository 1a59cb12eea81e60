import json
import subprocess
import sys

from beam_jobs.lean_beam import OPTIONAL

SCRIPT = """
import json, sys
import beam_jobs.convert_images
from apache_beam.runners.dataflow import dataflow_runner
loaded = [name for name in sys.argv[1:] if name in sys.modules]
from apache_beam.io.filesystems import FileSystems
from beam_jobs.lean_beam import load_cloud_storage
load_cloud_storage()
scheme = FileSystems.get_filesystem("gs://bucket/object").scheme()
from importlib import import_module
later = [import_module(name).__name__ for name in ("pandas", "google.cloud.bigquery")]
from apache_beam.runners.runner import create_runner
runners = [type(create_runner(name)).__name__ for name in ("FnApiRunner", "PrismRunner", "DataflowRunner")]
state = dataflow_runner.dataflow_api.JobState.JOB_STATE_DONE.name
print(json.dumps([loaded, later, runners, scheme, state]))
"""


def test_the_job_starts_without_connectors_and_hides_them_from_nobody_later():
    names = [*OPTIONAL, "google.cloud.dataflow_v1beta3", "imagemill.spec"]
    ended = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, check=True)
    loaded, later, runners, scheme, state = json.loads(ended.stdout)
    assert loaded == []
    assert scheme == "gs"
    assert later == ["pandas", "google.cloud.bigquery"]
    assert runners == ["FnApiRunner", "PrismRunner", "DataflowRunner"]
    assert state == "JOB_STATE_DONE"
    assert ended.stderr == ""


def test_the_job_ends_without_a_search_for_garbage():
    script = (
        "import atexit, gc\natexit.register(lambda: print(gc.get_freeze_count() > 100_000))\n"
        "from beam_jobs.convert_images import main\nprint(main(['--plan=none']))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["2", "True"]


def test_a_package_that_is_loaded_already_stays():
    script = "import pandas\nimport beam_jobs.convert_images\nimport sys\nassert sys.modules['pandas'] is pandas"
    subprocess.run([sys.executable, "-c", script], check=True)
