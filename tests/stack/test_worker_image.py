"""The conversion in containers of Beam's image: with all of it built in, and with the wheel that the job ships."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from imagemill.conversion.planning import plan_conversion, write_plan
from imagemill.plan import PLAN
from imagemill.spec import Shards
from imagemill.storage import open_store
from imagemill.storage.sync import sync
from tests.support.conversions import EXPECTED_REJECTS, SETTINGS, digests_of, manifest_of, mixture
from tests.support.gcs.server import client_environment, emulator
from tests.support.prism import prism_options
from tests.support.runners import PRISM, ROOT, require
from tests.support.servers import wait_until
from tests.support.worker_environment import build_wheel

pytestmark = pytest.mark.timeout(900)

BARE = "apache/beam_python3.11_sdk:2.77.0"
WORKER = "imagemill-worker:dev"


@pytest.fixture(scope="module")
def gcs(engine, tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("gcs"), buckets=["mill"]) as running:
        yield running


@pytest.fixture(scope="module")
def reached(gcs):
    """The emulator for this process and the launcher; Prism gives its containers no variables of ours."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in client_environment(gcs.url).items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def in_reach_of_the_bucket(gcs):
    """Returns an image to which only the emulator's address was added; gone with all that was made from it."""
    made = []

    def add(image: str) -> str:
        made.append(f"imagemill-test-{os.getpid()}-{len(made)}")
        recipe = f"FROM {image}\nENV STORAGE_EMULATOR_HOST={gcs.url}\n"
        docker("build", "--tag", made[-1], "-", stdin=recipe, DOCKER_BUILDKIT="1")
        return made[-1]

    yield add
    for image in made:
        # Prism does not wait for the end of the workers that it stops.
        wait_until(lambda: not docker("ps", "--all", "--quiet", "--filter", f"ancestor={image}"))  # noqa: B023  (called here and now)
        docker("rmi", image)


def docker(*arguments: str, stdin: str = "", **variables: str) -> str:
    command = ["docker", *arguments]
    ended = subprocess.run(
        command, input=stdin, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.fixture(scope="module")
def inputs(reached, tmp_path_factory):
    """Rows good and bad, in the bucket; and the digests of their conversion in one process on this machine."""
    folder = tmp_path_factory.mktemp("input")
    mixture(folder)
    sync(open_store(str(folder)), open_store("gs://mill/input"))
    version = folder / "version"
    convert(str(folder), str(version))
    assert manifest_of(version).reject_reasons == EXPECTED_REJECTS
    return digests_of(version)


def convert(source: str, version: str, *options: str) -> None:
    plan = plan_conversion(
        dataset="mixture",
        index_uri=f"{source}/index.csv",
        images_uri=f"{source}/images",
        settings=SETTINGS,
        shards=Shards(count={"train": 3, "test": 2}),
        declared_labels=("cat", "dog"),
    )
    write_plan(plan, version=version.rpartition("/")[2], version_uri=version)
    command = [sys.executable, "-m", "beam_jobs.convert_images", "--plan", f"{version}/{PLAN}", *options]
    started = time.monotonic()
    job = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert job.returncode == 0, job.stderr[-6000:]
    print(f"{version}: {time.monotonic() - started:.1f} s")


def in_container(image: str) -> list[str]:
    require(PRISM)
    return [*prism_options(PRISM), "--environment_type=DOCKER", f"--environment_config={image}"]


def test_the_worker_image_has_all_of_it(inputs, in_reach_of_the_bucket, tmp_path):
    made = subprocess.run(["make", "worker-image"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    convert("gs://mill/input", "gs://mill/versions/version", *in_container(in_reach_of_the_bucket(WORKER)))
    assert download(tmp_path, "version") == inputs


def test_the_wheel_brings_it_to_a_bare_image(inputs, in_reach_of_the_bucket, tmp_path):
    wheel = build_wheel(tmp_path)
    image = in_reach_of_the_bucket(BARE)
    convert("gs://mill/input", "gs://mill/wheel/version", *in_container(image), f"--extra_package={wheel}")
    assert download(tmp_path, "version", parent="wheel") == inputs


def test_a_bare_image_alone_cannot_do_it(inputs, in_reach_of_the_bucket):
    with pytest.raises(AssertionError, match="No module named"):
        convert("gs://mill/input", "gs://mill/bare/version", *in_container(in_reach_of_the_bucket(BARE)))


def download(folder, name: str, parent: str = "versions") -> dict[str, str]:
    sync(open_store(f"gs://mill/{parent}/{name}"), open_store(str(folder / name)))
    return digests_of(folder / name)
