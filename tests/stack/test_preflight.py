"""What `make stack` says of a machine on which the stack would not come up."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing

import pytest

from tests.support.compose import SCRIPTS
from tests.support.servers import LOOPBACK

PREFLIGHT = SCRIPTS / "preflight.sh"
NOBODY = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    # May read the checkout, wherever it lies; for a socket that is not enough.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


@pytest.fixture
def told(project):
    """Runs the preflight and returns the lines it says; none where all is well."""

    def told(*before: str, **variables: str) -> list[str]:
        ended = project.run(*before, PREFLIGHT, check=False, **variables)
        lines = ended.stderr.splitlines()
        assert ended.returncode == (2 if lines else 0), ended
        return lines

    return told


@pytest.fixture
def shim(tmp_path, told):
    """Runs the preflight with a docker that answers some questions as another machine's would."""

    def run(answers: str) -> list[str]:
        script = tmp_path / "docker"
        script.write_text(f'#!/bin/sh\ncase "$*" in\n{answers}\n*) exec "{shutil.which("docker")}" "$@" ;;\nesac\n')
        script.chmod(0o755)
        return told(PATH=f"{tmp_path}:{os.environ['PATH']}")

    return run


def test_a_good_machine(told):
    assert told() == []


def test_ports_in_use(told):
    with closing(socket.socket()) as held:
        held.bind((LOOPBACK, 0))
        held.listen()
        port = str(held.getsockname()[1])
        (line,) = told(IMAGEMILL_MAIL_PORT=port)
    assert line.startswith(f"imagemill: port {port} is in use")
    assert "IMAGEMILL_MAIL_PORT" in line


def test_one_port_for_both_pages(told, project):
    (line,) = told(IMAGEMILL_MAIL_PORT=str(project.ui_port))
    assert line.startswith(f"imagemill: port {project.ui_port} is wanted twice")


def test_no_docker(told, tmp_path):
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    (line,) = told(shutil.which("bash"), PATH=str(tmp_path))
    assert "there is no docker on this machine; install" in line


def test_an_engine_that_does_not_run(told, tmp_path):
    (line,) = told(DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert "does not answer" in line
    assert "systemctl start docker" in line


def test_not_in_the_docker_group(told, tmp_path):
    with closing(socket.socket(socket.AF_UNIX)) as held:
        held.bind(str(tmp_path / "docker.sock"))
        held.listen()
        (tmp_path / "docker.sock").chmod(0)
        before = NOBODY if os.geteuid() == 0 else []
        (line,) = told(*before, DOCKER_HOST=f"unix://{tmp_path}/docker.sock")
    assert "may not use Docker's socket" in line
    assert "sudo usermod -aG docker" in line


def test_too_little_memory(shim):
    (line,) = shim("info*MemTotal*) echo 2147483648 ;;")
    assert "has 2048 MiB of memory, and the stack needs 4 GiB" in line


@pytest.mark.parametrize("version", ["2.17.3", "v2.9.0"])
def test_an_old_compose(shim, version):
    (line,) = shim(f'"compose version --short") echo {version} ;;')
    assert f"Docker Compose {version.removeprefix('v')} is too old" in line


def test_no_compose(shim):
    (line,) = shim("compose*) echo \"docker: 'compose' is not a docker command.\" >&2; exit 1 ;;")
    assert "install the package docker-compose-plugin" in line


def test_settings_that_do_not_fit(told):
    *_, line = told(IMAGEMILL_UI_PORT="eighty")
    assert "docker-compose.yaml and .env do not fit together" in line


def test_folders_that_cannot_be_mounted(told, project, tmp_path):
    secret = tmp_path / "dags" / "mine.py"
    secret.parent.mkdir()
    secret.touch(mode=0o600)
    (line,) = told(IMAGEMILL_DAGS=str(secret.parent))
    assert f"cannot read {secret}" in line
    (line,) = told(IMAGEMILL_DAGS=str(tmp_path / "none"))
    assert f"there is no folder {tmp_path / 'none'}" in line


@pytest.fixture
def made_by(project):
    """Leaves a volume behind as another PostgreSQL would have."""

    def make(version: str) -> None:
        project.compose("run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", "postgres", "-c",
                        f"echo {version} > /var/lib/postgresql/data/PG_VERSION")  # fmt: skip

    yield make
    project.down()


def test_a_volume_of_another_postgres(told, made_by, project):
    made_by("13")
    (line,) = told()
    assert f"the volume {project.project}_database holds a database of PostgreSQL 13" in line
    assert "docker volume rm" in line


# The faults that only the database itself can tell come from `init`, which everything waits for.


@pytest.fixture
def database(project):
    project.compose("up", "--build", "--wait", "postgres")
    yield project
    project.down()


def sql(project, statement: str) -> None:
    project.compose(
        "exec", "-T", "postgres", "psql", "--username=airflow", "--set=ON_ERROR_STOP=1", "--command", statement
    )


@pytest.mark.timeout(900)
def test_a_database_that_is_not_this_stacks(database):
    sql(
        database, "create table alembic_version (version_num text); insert into alembic_version values ('ffffffffffff')"
    )
    ended = database.run("docker", "compose", "run", "--rm", "--no-deps", "-T", "init", check=False)
    assert ended.returncode == 1
    assert "has the schema ffffffffffff, of a newer Airflow" in ended.stderr

    sql(database, "alter role airflow password 'another'")
    ended = database.run("docker", "compose", "run", "--rm", "--no-deps", "-T", "init", check=False)
    assert ended.returncode == 1
    assert "another password than the volume `secrets`" in ended.stderr

    ended = database.run("make", "stack", check=False)
    assert ended.returncode != 0
    assert "another password than the volume `secrets`" in ended.stdout + ended.stderr, "it is said where people look"
