"""A version's rejects, converted again once their images are mended."""

import json
import shutil
from pathlib import Path

import pytest

from imagemill.plan import PLAN
from tests.support import conversions
from tests.support.conversions import manifest_of, picture


@pytest.fixture(scope="module")
def inputs(imagemill):
    return conversions.mixture(imagemill.project / "input")


@pytest.fixture(scope="module")
def version(imagemill, inputs):
    from beam_jobs.convert_images import main

    version = imagemill.project / "versions" / "v"
    inputs.plan(version)
    assert main(["--plan", str(version / PLAN)]) == 0
    return version


def test_mended_rejects_become_records_and_the_others_stay_what_they_were(imagemill, inputs, version):
    before = [json.loads(line) for line in (version / "rejects.jsonl").read_text().splitlines()]
    mended = {"gone.png", "empty.png", "cut.png"}
    images = imagemill.project / "mended"
    shutil.copytree(inputs.root / "images", images)
    for number, name in enumerate(sorted(mended)):
        (images / name).write_bytes(picture(100 + number))
    output = imagemill.project / "again"
    ended = imagemill("convert", "--only-rejects", version, "--images", images, "--output", output, "--json")
    assert ended.code == 0, ended.err
    again = Path(ended.json["version_uri"])
    manifest = manifest_of(again)
    assert (manifest.rows, manifest.records) == (len(before), len(mended))
    after = [json.loads(line) for line in (again / "rejects.jsonl").read_text().splitlines()]
    assert after == [reject for reject in before if reject["key"] not in mended]
    assert manifest.labels == manifest_of(version).labels
    plans = [json.loads((folder / PLAN).read_text()) for folder in (version, again)]
    assert plans[0]["settings"] == plans[1]["settings"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--only-rejects", "versions/v"], "--output", id="no output"),
        pytest.param(["dots", "--only-rejects", "versions/v", "--output", "o"], "nothing else", id="a name too"),
        pytest.param(["--only-rejects", "nowhere", "--output", "o"], "nowhere is no version", id="no version"),
        pytest.param(["--only-rejects", "versions/v", "--output", "."], "an output of their own", id="its own output"),
    ],
)
def test_mistakes(imagemill, version, arguments, says):
    ended = imagemill("convert", *arguments)
    assert ended.code == 2
    assert says in ended.err


def test_a_version_without_rejects(imagemill, version):
    clean = imagemill.project / "versions" / "clean"
    shutil.copytree(version, clean)
    (clean / "rejects.jsonl").write_bytes(b"")
    ended = imagemill("convert", "--only-rejects", clean, "--output", "o")
    assert (ended.code, "no rejects" in ended.err) == (2, True)


def test_damaged_rejects(imagemill, version):
    damaged = imagemill.project / "versions" / "damaged"
    shutil.copytree(version, damaged)
    (damaged / "rejects.jsonl").write_bytes(b"{}\n")
    ended = imagemill("convert", "--only-rejects", damaged, "--output", "o")
    assert (ended.code, "line 1 is no reject" in ended.err) == (1, True)
