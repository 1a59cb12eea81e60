"""What goes into an environment's bucket, laid out in a folder as Composer mounts it.

The packages come from the project's wheel, so that nothing is deployed that is not released. `imagemill` and
`beam_jobs` lie under `dags/`, which every process that runs tasks has on its path, with the wheel's metadata beside
them; Airflow's face lies under `plugins/`. Each package tells Airflow not to look for DAGs and plugins in it.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.composer.ranges import REQUIREMENTS, ROOT
from imagemill.errors import CallerError
from imagemill.spec.file import BrokenSpec, load_all

DAG_FILES = ("dataset_refresh.py", "dataset_freshness.py", "example_consumer.py")
OURS = "data/imagemill"
"""Where the deployment keeps its own, in the bucket."""

_HOMES = {"imagemill": "dags", "beam_jobs": "dags", "imagemill_airflow": "plugins"}
_IGNORE = ".airflowignore"
_METADATA = "METADATA"
_PLUGIN = "plugins/imagemill_plugin.py"


def lay_out(folder: Path, *, specs: Path, variables: Mapping[str, str]) -> None:
    """Writes all that is to be deployed into an empty folder.

    Args:
        folder: The folder.
        specs: Where the specs are.
        variables: What the environment has set, or is to set, for the specs.

    Raises:
        CallerError: A spec is broken, there is none, or the wheel cannot be built.
    """
    _check_specs(specs, variables)
    wheel = _build_wheel(folder / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if (place := _place(name)) is not None:
                _write(folder / place, archive.read(name))
        _write(folder / _PLUGIN, _plugin_file(archive).encode())
    shutil.rmtree(wheel.parent)
    for package, home in _HOMES.items():
        (folder / home / package / _IGNORE).write_text("*\n")
    for name in DAG_FILES:
        _copy(ROOT / "dags" / name, folder / "dags" / name)
    for spec in sorted(specs.glob("*.yaml")):
        _copy(spec, folder / "dags" / "datasets" / spec.name)
    _copy(REQUIREMENTS, folder / OURS / REQUIREMENTS.name)


def files(folder: Path) -> Iterator[str]:
    """Yields the keys of what is laid out, sorted."""
    yield from sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def is_seen_last(key: str) -> bool:
    """Tells whether a file must come after the modules that it imports: the DAG files, their specs, the plugin."""
    return key in (_PLUGIN, *(f"dags/{name}" for name in DAG_FILES)) or key.startswith("dags/datasets/")


def _check_specs(specs: Path, variables: Mapping[str, str]) -> None:
    if not specs.is_dir():
        raise CallerError(f"{specs} is not a folder; name the folder of your specs by --specs")
    loaded = load_all(specs, environment=variables)
    if broken := [each for each in loaded if isinstance(each, BrokenSpec)]:
        faults = "\n".join(str(each.error) for each in broken)
        raise CallerError(f"{faults}\nspecs are read with the variables of the environment, not with yours")
    if not loaded:
        raise CallerError(f"{specs} holds no spec; write one, or name another folder by --specs")


def _build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    if built.returncode:
        last = (built.stdout + built.stderr).strip().splitlines()[-1:]
        raise CallerError(f"the wheel cannot be built ({' '.join(last)}); run `make setup`, then try again")
    return next(folder.glob("*.whl"))


def _plugin_file(archive: zipfile.ZipFile) -> str:
    """Returns the file by which Airflow finds the plugins that it would find by the wheel's entry points."""
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
    entries = configparser.ConfigParser(delimiters="=")
    entries.read_string(archive.read(name).decode())
    plugins = [target.split(":") for target in entries["airflow.plugins"].values()]
    lines = [f"from {module} import {name} as {name}" for module, name in plugins]
    return "\n".join(
        ['"""Made by the deployment: Airflow looks for plugins in this folder\'s files."""', "", *lines, ""]
    )


def _place(name: str) -> str | None:
    """Returns where a file of the wheel goes, None where it does not."""
    top, _, rest = name.partition("/")
    if top in _HOMES:
        return f"{_HOMES[top]}/{name}"
    return f"dags/{name}" if top.endswith(".dist-info") and rest == _METADATA else None


def _copy(source: Path, destination: Path) -> None:
    _write(destination, source.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
