"""What docker-compose.yaml promises, read from the file: it holds where no engine is there to bring it up."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = FILE["services"]
ENDING = {"secrets", "init"}
AIRFLOW = {name for name, service in SERVICES.items() if "IMAGEMILL_STORE" in service.get("environment", {})}
MOUNT = re.compile(r"(?P<source>\$\{\w+:-[^}]+\}|[\w-]+):(?P<target>/[^:]*)(?P<read_only>:ro)?")


def mounts(service):
    found = [MOUNT.fullmatch(each) for each in SERVICES[service].get("volumes", [])]
    return {each["target"]: (each["source"], bool(each["read_only"])) for each in found}


def needs(service):
    return {name: each["condition"] for name, each in SERVICES[service].get("depends_on", {}).items()}


def waits_for(service):
    """Returns all that must be there before a service starts."""
    return set(needs(service)).union(*(waits_for(each) for each in needs(service)))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_bounded_and_may_do_little(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["logging"]["options"].keys() >= {"max-size", "max-file"}
    if name in ENDING:
        assert service["restart"] == "no"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_nobody_is_root():
    said = {name: service.get("user") for name, service in SERVICES.items() if "user" in service}
    assert said == {"secrets": "10001:999", "postgres": "postgres", "mail": "65534:65534"}
    for stage in ("airflow", "emulator"):
        (lines,) = re.findall(rf"^FROM \S+ AS {stage}\n((?:(?!FROM ).*\n)*)", (ROOT / "Dockerfile").read_text(), re.M)
        assert re.findall(r"^USER (\S+)", lines, re.M) == ["imagemill"], stage


def test_only_two_pages_are_published_and_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "api-server": ["127.0.0.1:${IMAGEMILL_UI_PORT:-8080}:8080"],
        "mail": ["127.0.0.1:${IMAGEMILL_MAIL_PORT:-8025}:8025"],
    }


@pytest.mark.parametrize("name", sorted(AIRFLOW - {"secrets"}))
def test_dags_and_plugins_cannot_be_written(name):
    assert mounts(name)["/opt/airflow/dags"] == ("${IMAGEMILL_DAGS:-./dags}", True)
    assert mounts(name)["/opt/airflow/plugins"] == ("${IMAGEMILL_PLUGINS:-./plugins}", True)


def test_who_may_write_the_secrets():
    writers = {name for name in SERVICES if mounts(name).get("/run/imagemill", ("", True)) == ("secrets", False)}
    assert writers == {"secrets", "api-server"}  # Airflow opens the file of logins for writing


def test_every_volume_has_a_name_and_every_name_a_use():
    sources = {source for name in SERVICES for source, _ in mounts(name).values()}
    defaults = {re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", source) for source in sources}
    assert {each for each in defaults if not each.startswith("./")} == set(FILE["volumes"])


def test_pictures_of_ones_own_are_mounted_for_the_tasks_and_cannot_be_written():
    assert mounts("scheduler")["/srv/images"] == ("${IMAGEMILL_IMAGES:-images}", True)
    told = {SERVICES[name]["environment"]["IMAGEMILL_IMAGES"] for name in AIRFLOW}
    assert told == {"/srv/images"}, "the DAG processor reads the same spec as the tasks"


def test_what_is_not_airflow_writes_to_its_volume_alone():
    for name in SERVICES.keys() - AIRFLOW:
        assert SERVICES[name]["read_only"] is True, name


def test_what_ends_has_ended_well_and_what_stays_is_healthy_before_others_begin():
    for name in SERVICES:
        for other, condition in needs(name).items():
            wanted = "service_completed_successfully" if other in ENDING else "service_healthy"
            assert condition == wanted, (name, other)
    assert waits_for("init") == {"postgres", "secrets"}
    for name in AIRFLOW - ENDING:
        assert "init" in waits_for(name), name
    assert {"gcs", "mail", "api-server"} <= waits_for("scheduler")


def test_one_image_for_all_of_airflow():
    assert {SERVICES[name]["image"] for name in AIRFLOW} == {"${IMAGEMILL_IMAGE:-imagemill:dev}"}
    assert {"secrets", "init", "api-server", "scheduler", "dag-processor", "triggerer"} == AIRFLOW


def test_the_emulators_image_has_all_of_ours_that_it_runs(tmp_path):
    dockerfile = (ROOT / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (tests/\S+)", dockerfile, re.MULTILINE):
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target)
        else:
            shutil.copy(ROOT / source, target)
    lacking = "import sys; sys.modules['imagemill'] = None; import tests.support.gcs.__main__"
    subprocess.run([sys.executable, "-c", lacking], cwd=tmp_path, check=True)


def test_no_secret_stands_in_the_file():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("KEY|SECRET|PASSWORD|CONN_CMD", variable) and not variable.startswith("AIRFLOW_CONN"):
                assert re.fullmatch(r"(cat )?/run/imagemill/[\w.-]+", value), (name, variable)
