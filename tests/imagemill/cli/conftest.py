from __future__ import annotations

import pytest

from tests.support.command import SPEC, Command


@pytest.fixture(scope="module")
def imagemill(tmp_path_factory):
    command = Command(tmp_path_factory.mktemp("project"))
    command.spec("dots", SPEC)
    return command
