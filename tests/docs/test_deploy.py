"""The page on servers names settings, commands and files that exist, and says their defaults."""

import re
from pathlib import Path

from imagemill.spec.dataflow import Dataflow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
COMPOSE = (ROOT / "docker-compose.yaml").read_text()
LABELS = {"IMAGEMILL_VERSION", "IMAGEMILL_REVISION", "IMAGEMILL_IMAGE", "IMAGEMILL_EMULATOR_IMAGE"}
"""What the Makefile sets, and names of images: nobody needs to set them."""
IN_WORDS = {"the catcher": "mail", "anonymous": "is_anonymous", "an empty volume": "images"}


def rows():
    """Yields each variable of the table with its default, as the page says it."""
    for names, cell in re.findall(r"^\| (`IMAGEMILL_[^|]+) \| ([^|]*) \|", PAGE, re.MULTILINE):
        variables = re.findall(r"`(IMAGEMILL_\w+)`", names)
        said = [each.strip().strip("`") for each in cell.split(",")]
        yield from zip(variables, said if len(said) == len(variables) else [cell.strip()] * len(variables), strict=True)


def defaults():
    """Returns each variable's default in docker-compose.yaml, of which the innermost counts."""
    text = re.sub(r"\s+", " ", COMPOSE)
    return {
        name: re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", default)
        for name, default in re.findall(r"\$\{(IMAGEMILL_\w+):?-((?:\{.*?\}\}|\$\{[^}]*\}|[^}])*)\}", text)
    }


def test_every_setting_is_on_the_page_with_its_default():
    said, known = dict(rows()), defaults()
    assert set(said) == set(known) - LABELS
    for name, default in said.items():
        assert default == known[name] or IN_WORDS[default] in known[name], name


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", PAGE, re.MULTILINE))
    assert {"stack", "stack-backup", "stack-restore", "worker-image"} <= named <= targets


def test_the_keys_for_workers_exist():
    assert (
        set(re.findall(r"`dataflow: \{(\w+):", PAGE)) == {"worker_image", "worker_wheel"} <= set(Dataflow.model_fields)
    )


def test_linked_pages_exist():
    assert all((ROOT / "docs" / page).is_file() for page in re.findall(r"\]\(([./A-Za-z_]+\.md)\)", PAGE))
