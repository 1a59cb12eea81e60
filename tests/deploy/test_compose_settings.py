"""What Compose makes of docker-compose.yaml and settings; it asks no engine for that."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.compose import ComposeStack

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    if shutil.which("docker") is None or subprocess.run(["docker", "compose", "version"], check=False).returncode:
        pytest.skip("no docker compose on this machine")
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(ROOT / "docker-compose.yaml", root)
    return ComposeStack("imagemill-test", tmp_path, root=root)


def test_the_tests_read_no_settings_of_the_machine_that_they_run_on(project, monkeypatch):
    (project.root / ".env").write_text("IMAGEMILL_STORE=gs://production\nIMAGEMILL_SMTP={}\n")
    (project.root / "docker-compose.override.yaml").write_text("services: {theirs: {image: busybox}}\n")
    monkeypatch.setenv("COMPOSE_PROFILES", "theirs")
    monkeypatch.setenv("IMAGEMILL_ALERT_EMAIL", "people@example.org")
    services = yaml.safe_load(project.compose("config"))["services"]
    settings = services["scheduler"]["environment"]
    assert settings["IMAGEMILL_STORE"] == "gs://imagemill"
    assert settings["IMAGEMILL_ALERT_EMAIL"] == "team@localhost"
    assert "mail" in settings["AIRFLOW_CONN_SMTP_DEFAULT"]
    assert "theirs" not in services
