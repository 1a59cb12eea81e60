"""The page on Composer names commands, files and messages that exist."""

import re
from pathlib import Path

from deploy.composer.__main__ import WORKER_HOME, cli
from deploy.composer.layout import OURS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "composer.md").read_text()


def test_the_commands_of_the_table_are_those_there_are():
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert listed | {"requirements"} == set(cli.commands)


def test_the_options_in_the_examples_exist():
    options = {option for command in cli.commands.values() for each in command.params for option in each.opts}
    for line in re.findall(r"-m deploy\.composer .*", PAGE):
        assert set(re.findall(r"--[a-z]+", line)) <= options


def test_places_are_those_of_the_code():
    assert f"IMAGEMILL_HOME={WORKER_HOME}" in PAGE
    assert f"`{OURS}/deployment.json`" in PAGE


def test_linked_pages_exist():
    assert all((ROOT / "docs" / page).is_file() for page in re.findall(r"\]\(([a-z_]+\.md)\)", PAGE))
