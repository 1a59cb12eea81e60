"""Bring a source's archive to this machine, wherever it is, and know its checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from imagemill.errors import CallerError, TemporaryFault
from imagemill.sources.download import download
from imagemill.storage import uri

if TYPE_CHECKING:
    from imagemill.progress import Progress

_CHUNK = 8 << 20
_HINT = "archive"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive on this machine.

    Attributes:
        name: What the spec calls it.
        path: Where it is.
        sha256: Its checksum, hexadecimal.
    """

    name: str
    path: Path
    sha256: str


def fetch_archive(
    location: str, *, sha256: str | None, downloads: Path, hints: MutableMapping[str, str], progress: Progress
) -> Archive:
    """Returns an archive on this machine, fetched into `downloads` unless it is a local file.

    Args:
        location: A path, a `file://`, `https://` or object-store URI.
        sha256: Checksum it must have, or None.
        downloads: Folder of fetched archives.
        hints: What an earlier call left; it saves computing the checksum of a file that has not changed.
        progress: Told of transfers.

    Raises:
        CallerError: There is none, or it is another one than the checksum says.
        TemporaryFault: It cannot be reached now.
    """
    if location.startswith(("http://", "https://")):
        return _from_url(location, sha256=sha256, downloads=downloads, hints=hints, progress=progress)
    place = uri.parse(location)
    path = Path(place.path) if place.is_local else fetch_from_store(location, downloads=downloads, progress=progress)
    if not path.is_file():
        what = (
            "is a folder; name the .tar.gz file itself" if path.is_dir() else "does not exist; check `source.archive`"
        )
        raise CallerError(f"{location}: the archive {what}")
    found = _checksum(path, hints)
    if sha256 is not None and found != sha256:
        raise CallerError(
            f"{location} has sha256 {found}, the spec wants {sha256}; "
            "fetch the archive again, or correct `source.sha256`"
        )
    return Archive(location, path, found)


def _from_url(
    url: str, *, sha256: str | None, downloads: Path, hints: MutableMapping[str, str], progress: Progress
) -> Archive:
    if sha256 is None:
        raise CallerError(f"{url}: an archive fetched by URL needs `sha256`; add its published checksum")
    path = downloads / sha256 / (_safe(Path(unquote(urlsplit(url).path)).name) or "archive")
    # A download that is not what it was when it got its name (a broken disk) is fetched once more.
    for _ in range(2):
        download(url, path, sha256=sha256, progress=progress)
        if _checksum(path, hints) == sha256:
            return Archive(url, path, sha256)
        path.unlink()
    raise TemporaryFault(f"{path} does not keep the bytes written to it; check the disk, then try again")


def fetch_from_store(location: str, *, downloads: Path, progress: Progress) -> Path:
    """Returns a copy of an object below `downloads`, fetched unless this very version of it is there.

    Raises:
        CallerError: There is no such object.
        TemporaryFault: It changed while it was read.
    """
    from imagemill.storage import open_store

    folder, key = uri.split(location)
    store = open_store(folder)
    found = store.stat(key)
    if found is None:
        raise CallerError(f"{location}: the archive does not exist; check `source.archive`")
    version = hashlib.sha256(f"{location} {found.generation} {found.size}".encode()).hexdigest()
    path = downloads / version / (_safe(key) or "archive")
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    progress.begin(f"download {location}", total=found.size, unit="bytes")
    try:
        with part.open("wb") as file:
            while chunk := store.read_range(key, file.tell(), _CHUNK):
                file.write(chunk)
                progress.advance(len(chunk))
    finally:
        progress.end()
    again = store.stat(key)
    if again is None or again.generation != found.generation or part.stat().st_size != found.size:
        part.unlink()
        raise TemporaryFault(f"{location} changed while it was read; try again when its upload is finished")
    part.replace(path)
    return path


def _checksum(path: Path, hints: MutableMapping[str, str]) -> str:
    status = path.stat()
    seen = f"{path.resolve()} {status.st_ino} {status.st_size} {status.st_mtime_ns} "
    hint = hints.get(_HINT, "")
    if hint.startswith(seen):
        return hint.removeprefix(seen)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    hints[_HINT] = seen + digest
    return digest


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name).lstrip(".")[:100]
