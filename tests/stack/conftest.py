from __future__ import annotations

import secrets

import pytest

from tests.support.compose import ComposeStack, require_engine


@pytest.fixture(scope="session")
def engine():
    require_engine()


@pytest.fixture(scope="module")
def project(engine, tmp_path_factory):
    """A project that is not up; whatever a test makes of it is gone afterwards."""
    folder = tmp_path_factory.mktemp("stack")
    folder.parent.chmod(0o755)
    stack = ComposeStack(f"imagemill-test-{secrets.token_hex(4)}", folder)
    yield stack
    stack.down()
    assert stack.leftovers() == []
