"""What the stack's first start makes, and what a later one leaves alone."""

import importlib.util
import json
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

SCRIPT = Path(__file__).parents[2] / "deploy" / "stack" / "in_image" / "make_secrets.py"


@pytest.fixture(scope="module")
def make_all():
    spec = importlib.util.spec_from_file_location("make_secrets", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_all


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_no_two_installations_share_a_secret(make_all, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        make_all(folder, "ann:admin,bob:viewer")
    ours, others = contents(first), contents(second)
    assert ours.keys() == others.keys()
    assert not set(ours.values()) & set(others.values())
    logins = json.loads(ours["logins.json"])
    assert logins.keys() == {"ann", "bob"}
    assert logins["ann"] != logins["bob"]
    assert not set(logins.values()) & set(json.loads(others["logins.json"]).values())
    assert all(len(value) >= 16 for value in (*ours.values(), *logins.values()))
    Fernet(ours["fernet-key"].encode())


def test_only_the_databases_password_is_for_another_user_too(make_all, tmp_path):
    make_all(tmp_path, "ann:admin")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.pop("database-password") & 0o007 == 0
    assert set(modes.values()) == {0o600}


def test_a_second_start_changes_nothing(make_all, tmp_path):
    assert len(make_all(tmp_path, "ann:admin")) == 5
    before = contents(tmp_path)
    assert make_all(tmp_path, "ann:admin") == []
    assert contents(tmp_path) == before


def test_people_come_and_go_and_keep_their_passwords(make_all, tmp_path):
    make_all(tmp_path, "ann:admin,bob:viewer")
    before = json.loads((tmp_path / "logins.json").read_text())
    assert make_all(tmp_path, "ann:admin,eve:viewer") == ["login of eve"]
    after = json.loads((tmp_path / "logins.json").read_text())
    assert after.keys() == {"ann", "eve"}
    assert after["ann"] == before["ann"]


def test_a_secret_that_was_removed_is_made_anew_alone(make_all, tmp_path):
    make_all(tmp_path, "ann:admin")
    before = contents(tmp_path)
    (tmp_path / "jwt-secret").unlink()
    assert make_all(tmp_path, "ann:admin") == ["jwt-secret"]
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"jwt-secret"}


def test_a_new_database_password_is_in_the_url(make_all, tmp_path):
    make_all(tmp_path, "ann:admin")
    (tmp_path / "database-password").unlink()
    make_all(tmp_path, "ann:admin")
    assert (tmp_path / "database-password").read_text() in (tmp_path / "database-url").read_text()
