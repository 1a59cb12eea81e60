"""Where the specs are, and where this machine keeps what runs leave behind. Looking creates nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from imagemill.errors import CallerError

SPECS_VARIABLE = "IMAGEMILL_SPECS"
HOME_VARIABLE = "IMAGEMILL_HOME"

_SPECS = Path("dags", "datasets")


def specs_dir(*, environment: Mapping[str, str] = os.environ, start: Path | None = None) -> Path:
    """Returns the folder of the specs in use, absolute.

    That is $IMAGEMILL_SPECS; else `dags/datasets` in `start` (by default the working directory) or the nearest folder
    above that has one; else the one of the checkout this package was installed from.

    Raises:
        CallerError: There is no such folder.
    """
    if named := environment.get(SPECS_VARIABLE):
        folder = Path(named).expanduser().absolute()
        if not _is_folder(folder):
            raise CallerError(
                f"{SPECS_VARIABLE} names {folder}, which is not a folder that this user can reach; "
                "point it at a folder of specs"
            )
        return folder
    here = (start or Path.cwd()).absolute()
    above_package = Path(__file__).parents[1]
    # Where the package itself lives under dags/ (as on Composer), the specs are its neighbours.
    for folder in (
        *(above / _SPECS for above in (here, *here.parents)),
        above_package / _SPECS,
        above_package / "datasets",
    ):
        if _is_folder(folder):
            return folder
    raise CallerError(
        f"no {_SPECS} in {here} or above it; "
        f"change to the project's folder, or set {SPECS_VARIABLE} to a folder of specs"
    )


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises below a folder that may not be entered


def home(specs: Path, *, environment: Mapping[str, str] = os.environ) -> Path:
    """Returns the folder that runs work in, absolute: $IMAGEMILL_HOME, else `.imagemill` in the project of `specs`.

    The project is the folder that holds the `dags/` around `specs`; specs without a `dags/` above them are their own.
    """
    if named := environment.get(HOME_VARIABLE):
        return Path(named).expanduser().absolute()
    folder = specs.expanduser().absolute()
    project = next((above.parent for above in (folder, *folder.parents) if above.name == "dags"), folder)
    return project / ".imagemill"
