"""The wheel that a job ships to workers that do not have imagemill: `python -m imagemill.worker_wheel FOLDER`.

It is made of the installed modules, so it needs neither a checkout nor a build tool, and the workers run what the
launcher runs. The same modules give the same bytes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from imagemill.errors import CallerError
from imagemill.runners import OptionValue

PACKAGES = ("imagemill", "beam_jobs")

PINNED = ("google-crc32c", "httpx", "obstore", "pillow", "pydantic")
"""What workers need beside Beam and what Beam brings itself (numpy): in the launcher's versions."""

_BRINGS = ("extra_package", "extra_packages", "sdk_container_image")
"""Options that bring imagemill to a job's workers."""

_OLDEST = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip archive can hold."""
_TAG = "py3-none-any"


def build_worker_wheel(folder: Path) -> Path:
    """Writes the wheel into a folder and returns its path.

    Raises:
        CallerError: A package that workers need is not installed here, so no version of it can be named.
    """
    own = _own_version()
    name = f"imagemill-{own}"
    files = dict(sorted(_modules()))
    files |= {f"{name}.dist-info/METADATA": _metadata(own), f"{name}.dist-info/WHEEL": _wheel_file()}
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{name}.dist-info/RECORD"] = f"{record}{name}.dist-info/RECORD,,\n".encode()
    path = folder / f"{name}-{_TAG}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in files.items():
            entry = zipfile.ZipInfo(inside, _OLDEST)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=9)
    return path


@contextmanager
def shipped(runner: str, options: Mapping[str, OptionValue]) -> Iterator[dict[str, OptionValue]]:
    """Provides a job's options while it is launched: the given ones, and the wheel where its workers lack imagemill.

    Args:
        runner: The runner, in the spec's words.
        options: Beam's options.
    """
    if _workers_have_it(runner, options):
        yield dict(options)
        return
    with TemporaryDirectory(prefix="imagemill-wheel-") as folder:
        yield {**options, "extra_package": [str(build_worker_wheel(Path(folder)))]}


def _workers_have_it(runner: str, options: Mapping[str, OptionValue]) -> bool:
    if any(options.get(name) for name in _BRINGS):
        return True
    if runner == "dataflow":
        return False
    environment = options.get("environment_type") or "LOOPBACK"  # Prism's own default
    return runner == "local" or environment == "LOOPBACK" or (environment == "DOCKER" and _names_image(options))


def _names_image(options: Mapping[str, OptionValue]) -> bool:
    return any(options.get(name) for name in ("environment_config", "environment_options"))


def _modules() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise CallerError(f"{package} is not installed here, so it cannot be shipped; install the whole project")
        root = Path(found.origin).parent
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _metadata(own: str) -> bytes:
    needs = [f"Requires-Dist: {package}=={_installed(package)}" for package in PINNED]
    lines = ["Metadata-Version: 2.1", "Name: imagemill", f"Version: {own}", *needs, ""]
    return "\n".join(lines).encode()


def _wheel_file() -> bytes:
    return f"Wheel-Version: 1.0\nGenerator: imagemill\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _own_version() -> str:
    try:
        return version("imagemill")
    except PackageNotFoundError:
        return "0"  # a folder on the path, as on Composer, has no version


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise CallerError(f"{package} is not installed here, and the workers need it; install it first") from None


def main() -> int:
    """Builds the wheel and prints its path."""
    parser = argparse.ArgumentParser(prog="python -m imagemill.worker_wheel", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    print(build_worker_wheel(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
