"""The page of settings and the code name the same ones."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from imagemill.doctor.machine import known_variables
from imagemill.storage.settings import ObjectStoreSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
OURS = r"IMAGEMILL_[A-Z0-9]+(?:_[A-Z0-9]+)*"
AIRFLOWS = r"AIRFLOW__[A-Z_]+[A-Z]|AIRFLOW_(?:HOME|CONN_[A-Z_]+)"
OTHERS = r"STORAGE_EMULATOR_HOST|GOOGLE_APPLICATION_CREDENTIALS|GOOGLE_CLOUD_PROJECT"
NAME = re.compile(rf"(?<![A-Z_])(?:{OURS}|{AIRFLOWS}|{OTHERS})(?![A-Z0-9_])")

EXAMPLES = {"AIRFLOW_CONN_HOOK"}
"""In a docstring, as an example."""


def sources():
    folders = ("imagemill", "beam_jobs", "plugins", "dags", "deploy", "docker-compose.yaml", "Makefile")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    for path in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if path.endswith((".py", ".yaml", ".sh", "Makefile")) and (ROOT / path).is_file():
            yield (ROOT / path).read_text()


def read_by_code():
    named = {name for text in sources() for name in NAME.findall(text)}
    return (named | {f"IMAGEMILL_{field.name.upper()}" for field in fields(ObjectStoreSettings)}) - EXAMPLES


def listed_on_the_page():
    return set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \|", PAGE, re.MULTILINE))


def test_every_variable_of_the_code_is_on_the_page():
    assert read_by_code() - listed_on_the_page() == set()


def test_every_variable_of_the_page_is_in_the_code():
    assert listed_on_the_page() - read_by_code() - {"IMAGEMILL_REQUIRE_RUNNERS"} == set()


def test_the_doctor_knows_them():
    ours = {name for name in listed_on_the_page() if name.startswith("IMAGEMILL_")}
    assert known_variables() <= ours


@pytest.mark.parametrize("field", fields(ObjectStoreSettings), ids=lambda field: field.name)
def test_defaults_of_settings_are_those_of_the_code(field):
    (cell,) = re.findall(rf"^\| `IMAGEMILL_{field.name.upper()}` \|(.*?)\|", PAGE, re.MULTILINE)
    default = field.default
    expected = {False: "0", True: "1", (): ""}.get(
        default, f"{default:g}" if isinstance(default, float) else str(default)
    )
    assert cell.strip().strip("`") == expected


def test_pages_that_are_linked_exist():
    linked = set(re.findall(r"\]\(([a-z_]+\.md)\)", PAGE))
    assert {page for page in linked if not (ROOT / "docs" / page).is_file()} == set()
