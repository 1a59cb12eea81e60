"""The operator's page names commands, tasks, alerts and measures that exist."""

import re
from pathlib import Path
from typing import get_args

import click

from imagemill.cli import cli
from imagemill.spec.alerts import AlertEvent

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text()
DAG = (ROOT / "dags" / "dataset_refresh.py").read_text()
COMMAND = re.compile(r"(?:`|\$ \.venv/bin/|\.venv/bin/)imagemill ([a-z]+)([^`\n]*)")


def table(heading):
    """Returns the first column of every table of a section."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_alert_and_every_task_has_its_row():
    rows = table("What each alert means")
    assert set(get_args(AlertEvent)) <= rows
    tasks = rows - set(get_args(AlertEvent))
    assert all(re.search(rf"\b{task}\b", DAG) for task in tasks)
    assert {"prepare_images", "upload_images", "convert_images", "validate_records", "publish"} <= tasks


def test_commands_and_their_options_exist():
    used = [(name, set(re.findall(r"--[a-z-]+", rest.split("#")[0]))) for name, rest in COMMAND.findall(PAGE)]
    assert {name for name, _ in used} <= set(cli.commands)
    for name, options in used:
        known = {each for one in cli.commands[name].params if isinstance(one, click.Option) for each in one.opts}
        assert options <= known, name


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", PAGE)) <= targets


def test_linked_pages_exist():
    assert all((ROOT / "docs" / page).is_file() for page in re.findall(r"\]\(([./A-Za-z_]+\.md)\)", PAGE))
