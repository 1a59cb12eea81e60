from __future__ import annotations

import pytest

from tests.support.command import Command


@pytest.fixture(scope="module")
def imagemill(tmp_path_factory):
    return Command(tmp_path_factory.mktemp("project"))
