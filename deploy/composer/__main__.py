"""`python -m deploy.composer`: checks an environment, deploys to it, and goes back."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement

from deploy.composer.deployment import Outcome, Target
from deploy.composer.environment import Environment, problems, read_environment, to_install
from deploy.composer.layout import lay_out
from deploy.composer.ranges import (
    REQUIREMENTS,
    ROOT,
    Packages,
    read_packages,
    read_requirements,
    required,
    requirements_text,
)
from imagemill.errors import CallerError, ImagemillError
from imagemill.version.run_record import whoami

WORKER_HOME = "/tmp/imagemill"  # noqa: S108 - the one place on a worker that is local, writable and not a bucket
"""IMAGEMILL_HOME on Composer's workers: fast and passing, as downloads and prepared trees may be."""

_FILE = click.Path(path_type=Path, dir_okay=False)


def _environment_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--packages", type=_FILE, help="What `list-packages` of the environment prints."),
        click.option("--described", type=_FILE, help="What `describe --format json` prints; else gcloud is asked."),
        click.option("--project", help="The environment's project; else gcloud's own."),
        click.option("--location", help="The environment's region."),
        click.option("--environment", "name", help="The environment's name."),
    ):
        function = option(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Put imagemill into a Cloud Composer environment."""


@cli.command()
@_environment_options
def check(**options: Any) -> None:
    """Check the environment's version and packages against what imagemill needs."""
    environment, packages = _look(**options), _listed(**options)
    _refuse(environment, packages)
    click.echo(f"{environment.name} ({environment.image}) fits")


@cli.command()
@_environment_options
@click.option(
    "--specs", type=click.Path(path_type=Path), default=ROOT / "dags" / "datasets", help="Folder of the specs."
)
@click.option("--store", metavar="URI", help="Where datasets go, such as gs://bucket/imagemill.")
def deploy(*, specs: Path, store: str | None, **options: Any) -> None:
    """Check, lay out and upload; then say which two commands are left."""
    environment, packages = _look(**options), _listed(**options)
    _refuse(environment, packages)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), specs=specs.absolute(), variables=environment.variables | _wanted(environment, store))
        _say(environment, Target(environment.bucket).deploy(Path(folder), by=whoami()))
    for line in _left(environment, packages, store):
        click.echo(line)


@cli.command()
@_environment_options
@click.option("--to", "deployment", metavar="ID", help="By default the one before the current.")
def rollback(*, deployment: str | None, **options: Any) -> None:
    """Put back what was deployed before."""
    environment = _look(**options)
    target = Target(environment.bucket)
    with tempfile.TemporaryDirectory() as folder:
        target.unpack(deployment or target.previous(), Path(folder))
        _say(environment, target.deploy(Path(folder), by=whoami()))


@cli.command()
@_environment_options
def status(**options: Any) -> None:
    """List the deployments; the first is the current one."""
    environment = _look(**options)
    for number, each in enumerate(Target(environment.bucket).record().deployments):
        click.echo(f"{'*' if number == 0 else ' '} {each.id}  {each.at:%Y-%m-%d %H:%M} UTC  {each.by}")


@cli.command()
def requirements() -> None:
    """Write requirements-composer.txt anew from pyproject.toml."""
    REQUIREMENTS.write_text(requirements_text())


def _look(*, described: Path | None, packages: Path | None, **options: Any) -> Environment:
    del packages  # of which going back asks nothing: it must work where the workers do not
    if described:
        return read_environment(_text(described), where=str(described))
    asked = ("composer", "environments", "describe", *_place(**options), "--format=json")
    return read_environment(_gcloud(*asked), where="gcloud")


def _listed(*, described: Path | None, packages: Path | None, **options: Any) -> Packages | None:
    """Returns what is installed; None where only a description was given."""
    if packages:
        return read_packages(_text(packages), where=str(packages))
    if described:
        return None
    return read_packages(
        _gcloud("beta", "composer", "environments", "list-packages", *_place(**options)), where="gcloud"
    )


def _place(*, name: str | None, location: str | None, project: str | None) -> list[str]:
    if not name or not location:
        raise CallerError("name the environment by --environment and --location, or give a file by --described")
    return [name, "--location", location, *(["--project", project] if project else [])]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CallerError(f"{path} cannot be read ({error}); give the file that gcloud wrote") from error


def _gcloud(*arguments: str) -> str:
    if shutil.which("gcloud") is None:
        raise CallerError("gcloud is not installed; install it, or give what it prints by --described and --packages")
    ended = subprocess.run(["gcloud", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CallerError(f"`gcloud {shlex.join(arguments)}` failed: {' '.join(ended.stderr.split())}")
    return ended.stdout


def _refuse(environment: Environment, packages: Packages | None) -> None:
    if found := list(problems(environment, packages, required(), asked=_asked())):
        raise CallerError("\n".join(found))
    if packages is None:
        click.echo("its packages were not looked at: give what `list-packages` prints by --packages", err=True)


def _asked() -> list[Requirement]:
    return read_requirements(REQUIREMENTS.read_text())


def _say(environment: Environment, outcome: Outcome) -> None:
    for key in outcome.left:
        click.echo(f"{environment.bucket}/{key} is left alone: it was deployed once, and somebody changed it since")
    if not outcome.uploaded and not outcome.deleted:
        click.echo(f"{environment.bucket} holds {outcome.id} already: nothing uploaded")
        return
    click.echo(
        f"{environment.bucket}: deployed {outcome.id}; uploaded {outcome.uploaded}, deleted {outcome.deleted}, "
        f"unchanged {outcome.unchanged}"
    )


def _left(environment: Environment, packages: Packages | None, store: str | None) -> list[str]:
    """Returns the commands that are left to the user; those that have nothing to do are told as such."""
    update = f"gcloud composer environments update {environment.arguments}"
    missing = to_install(environment, packages, _asked())
    # Not from a file: that would take away the packages that others asked for.
    each = " ".join(f"--update-pypi-package {shlex.quote(str(requirement))}" for requirement in missing)
    lines = [f"{update} {each}" if missing else "# packages: everything is installed"]
    wanted = _wanted(environment, store)
    changed = {name: value for name, value in wanted.items() if environment.variables.get(name) != value}
    settings = ",".join(f"{name}={value}" for name, value in changed.items())
    lines += [f"{update} --update-env-variables={shlex.quote(settings)}" if changed else "# variables: all are set"]
    return ["left to you, each takes some minutes:", *(f"  {line}" for line in lines)]


def _wanted(environment: Environment, store: str | None) -> dict[str, str]:
    """Returns the variables that imagemill needs on the environment."""
    known = environment.variables.get("IMAGEMILL_STORE")
    return {"IMAGEMILL_HOME": WORKER_HOME, "IMAGEMILL_STORE": store or known or "gs://YOUR-BUCKET/imagemill"}


def main() -> None:
    """Runs the command; the error's family decides the exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ImagemillError as error:
        click.echo(f"deploy: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
