"""What a deployment does in an environment with Composer's packages, under a user who can write almost nowhere."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from imagemill.manifest import parse_manifest
from imagemill.storage import open_store
from imagemill.storage.settings import ObjectStoreSettings
from tests.support.command import SPEC
from tests.support.composer import NOBODY, PYTHON, as_nobody, deploy, described, listed, require_composer
from tests.support.gcs.server import emulator

DAG = "refresh_dots"


class Worker:
    """A Composer worker: the bucket's folders as it mounts them, and a user of its own."""

    def __init__(self, folder, gcs):
        self.mount, self.home, self.tmp = folder / "gcs", folder / "airflow", folder / "tmp"
        for writable in (self.home, self.tmp, self.mount / "data"):
            writable.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(writable, NOBODY, NOBODY)
        self.variables = {
            "PATH": f"{PYTHON.parent}:{os.defpath}",
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.mount / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.mount / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "IMAGEMILL_HOME": str(self.tmp / "imagemill"),
            "IMAGEMILL_STORE": "gs://datasets/mill",
            "STORAGE_EMULATOR_HOST": gcs.url,
        }

    def __call__(self, *command):
        ended = subprocess.run(
            as_nobody([str(PYTHON), "-m", *command]),
            cwd=self.home,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{command}:\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout

    def airflow(self, *command):
        return self("airflow", *command)

    def listed(self, *command):
        """Returns what an `airflow … list` command says, which may warn of something first."""
        return json.loads(self.airflow(*command, "--output", "json").splitlines()[-1])


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    require_composer()
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=["environment", "datasets"]) as running:
        yield running


@pytest.fixture(scope="module")
def settings(gcs):
    return ObjectStoreSettings(gcs_endpoint=gcs.url, gcs_emulator=True)


@pytest.fixture(scope="module")
def worker(gcs, settings, tmp_path_factory):
    from imagemill.storage.sync import sync

    folder = tmp_path_factory.mktemp("deployer")
    specs = folder / "specs"
    specs.mkdir()
    (specs / "dots.yaml").write_text(SPEC)
    place = ("--described", described(folder, "gs://environment"), "--packages", listed(folder), "--specs", specs)
    ended = deploy("deploy", *place, variables={"STORAGE_EMULATOR_HOST": gcs.url})
    assert ended.code == 0, ended.err
    # Not pytest's own folder, which no other user may enter.
    root = Path(tempfile.mkdtemp(prefix="imagemill-composer-"))
    root.chmod(0o755)
    sync(open_store("gs://environment", settings=settings), open_store(root / "gcs"))
    shutil.rmtree(root / "gcs" / "data")
    _make_read_only(root / "gcs")
    yield Worker(root, gcs)
    for path in (root / "gcs").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(root)


def _make_read_only(folder):
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)


def digests(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_composers_airflow_finds_the_dag_and_refreshes_the_dataset(worker, settings):
    code = {part: digests(worker.mount / part) for part in ("dags", "plugins")}
    packages = json.loads(worker("pip", "list", "--format", "json"))
    versions = {package["name"].lower(): package["version"] for package in packages}
    assert (versions["apache-airflow"], versions["apache-airflow-providers-apache-beam"]) == ("3.3.1", "6.2.3")
    assert not {"tensorflow", "imagemill"} & versions.keys()

    worker.airflow("db", "migrate")
    worker.airflow("dag-processor", "--num-runs", "1")
    assert worker.listed("dags", "list-import-errors") == []
    assert {dag["dag_id"] for dag in worker.listed("dags", "list")} == {DAG, "example_consumer", "watch_freshness"}
    assert [plugin["name"] for plugin in worker.listed("plugins") if "imagemill" in plugin["name"]] == ["imagemill"]

    worker.airflow("dags", "test", DAG)

    published = open_store("gs://datasets/mill/datasets/dots", settings=settings)
    version = json.loads(published.read("CURRENT"))["version"]
    report = json.loads(published.read(f"versions/{version}/validation.json"))
    assert "imagemill's own reader" in json.dumps(report)
    manifest = parse_manifest(published.read(f"versions/{version}/manifest.json"), where="")
    assert (manifest.records, manifest.rejected) == (50, 0)
    assert {part: digests(worker.mount / part) for part in code} == code
    assert list((worker.mount / "data").iterdir()) == []
