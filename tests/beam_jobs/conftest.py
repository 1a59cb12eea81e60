from __future__ import annotations

import pytest

from imagemill.plan import PLAN
from tests.support import conversions


@pytest.fixture
def mixture(tmp_path):
    return conversions.mixture(tmp_path / "input")


@pytest.fixture
def inputs(tmp_path):
    return conversions.Inputs(tmp_path / "input")


@pytest.fixture(scope="session")
def version(tmp_path_factory):
    """The mixture, converted once; only to be looked at."""
    from beam_jobs.convert_images import main

    folder = tmp_path_factory.mktemp("converted")
    conversions.mixture(folder / "input").plan(folder / "v")
    assert main(["--plan", str(folder / "v" / PLAN)]) == 0
    return folder / "v"


@pytest.fixture
def convert(tmp_path):
    """Plans a version, runs the job through its command line, returns the version's folder."""
    from beam_jobs.convert_images import main

    def run(inputs, name="v", *, arguments=(), expected=0, before_job=lambda: None, **planning):
        version = tmp_path / "versions" / name
        inputs.plan(version, **planning)
        before_job()
        assert main(["--plan", str(version / PLAN), *arguments]) == expected
        return version

    return run
