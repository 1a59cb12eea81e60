"""The first page's commands, links and spec are real."""

import re
from pathlib import Path

from imagemill.cli import cli
from imagemill.spec.file import load_spec

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text()


def test_the_spec_loads(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "flowers.yaml"
    path.write_text(text)
    assert load_spec(path, environment={"IMAGEMILL_HOME": str(tmp_path)}).source.type == "folder"


def test_the_commands_exist():
    named = set(re.findall(r"(?:`|\$ \.venv/bin/)imagemill ([a-z]+)", PAGE))
    assert named <= set(cli.commands)
    assert {"refresh", "versions", "doctor", "path"} <= named


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", PAGE, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_linked_pages_exist():
    linked = re.findall(r"\]\(([./\w]+)\)", PAGE)
    assert len(linked) > 10
    assert [page for page in linked if not (ROOT / page).exists()] == []
