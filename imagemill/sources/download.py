"""Fetch a file by URL: streamed, resumed where it broke off, verified before it gets its name."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.errors import CallerError, ImagemillError, TemporaryFault

if TYPE_CHECKING:
    import httpx

    from imagemill.progress import Progress

ATTEMPTS = 6
"""Connections tried in a row without one new byte before a download is given up."""

FIRST_PAUSE_SECONDS = 0.5
"""Pause after the first failure; it doubles with each one that follows."""

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(url: str, target: Path, *, sha256: str, progress: Progress, pause: float = FIRST_PAUSE_SECONDS) -> None:
    """Stores what a URL serves at `target`, which appears only when its checksum is right.

    A broken transfer goes on where it stopped (RFC 9110: Range with If-Range, so that a file which changed on the
    server starts anew), also after this process was killed.

    Args:
        url: An http or https URL; redirects are followed.
        target: The file; its folder is made. `<target>.part` holds what has arrived.
        sha256: Checksum the file must have, hexadecimal.
        progress: Told of the bytes.
        pause: Seconds before the second attempt.

    Raises:
        CallerError: The server refuses (4xx), or serves another file than the checksum says.
        TemporaryFault: The server or the network stays down.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with _exclusive(part) as file:
        if target.exists():
            part.unlink(missing_ok=True)  # another process was faster
            return
        _Transfer(url, part, file, progress).run(pause)
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise CallerError(
                f"{url} serves a file with sha256 {found}, the spec wants {sha256}; nothing was kept: "
                "check the URL, and the checksum where it was published"
            )
        part.replace(target)
        _validator_path(part).unlink(missing_ok=True)


class _Transfer:
    def __init__(self, url: str, part: Path, file: BufferedRandom, progress: Progress) -> None:
        self.url = url
        self.part = part
        self.file = file
        self.progress = progress

    def run(self, pause: float) -> None:
        import httpx

        timeout = httpx.Timeout(30, pool=None)
        failures = 0
        try:
            with httpx.Client(follow_redirects=True, timeout=timeout) as client:
                while True:
                    before = self.file.seek(0, os.SEEK_END)
                    fault = self._attempt(client)
                    if fault is None:
                        return
                    # Bytes that arrived are progress, however often the connection breaks.
                    failures = 1 if self.file.seek(0, os.SEEK_END) > before else failures + 1
                    if failures >= ATTEMPTS:
                        raise TemporaryFault(f"{self.url}: {fault}, {failures} times in a row; try again later")
                    time.sleep(pause * 2 ** (failures - 1) * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise CallerError(f"{self.url} cannot be fetched: {error}; correct the URL") from error

    def _attempt(self, client: httpx.Client) -> str | None:
        """Fetches what is missing; returns what broke, or None when the file has arrived."""
        import httpx

        try:
            with client.stream("GET", self.url, headers=self._range()) as response:
                if response.status_code == 416:
                    return self._restart()
                if response.status_code in _RETRIED:
                    return f"the server answers {response.status_code}"
                if response.status_code not in (200, 206):
                    raise _refused(self.url, response.status_code)
                return self._receive(response)
        except httpx.UnsupportedProtocol:
            raise
        except httpx.TransportError as error:
            return str(error) or type(error).__name__

    def _range(self) -> dict[str, str]:
        # Identity: a compressed transfer would count and resume other bytes than the file's.
        headers = {"Accept-Encoding": "identity"}
        validator = _validator_path(self.part)
        size = self.file.seek(0, os.SEEK_END)
        if size and validator.exists():
            headers |= {"Range": f"bytes={size}-", "If-Range": validator.read_text(encoding="ascii")}
        return headers

    def _restart(self) -> str:
        self.file.truncate(0)
        _validator_path(self.part).unlink(missing_ok=True)
        return "the server cannot resume"

    def _receive(self, response: httpx.Response) -> str | None:
        size = self.file.seek(0, os.SEEK_END)
        if response.status_code == 200:
            self.file.truncate(0)
            size = self.file.seek(0)
            self._remember_validator(response)
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
            return self._restart()
        length = response.headers.get("Content-Length")
        total = size + int(length) if length and length.isdecimal() else None
        self.progress.begin(f"download {self.url}", total=total, unit="bytes")
        try:
            self.progress.advance(size)
            # In the pieces that arrive: a piece size would hold back, and lose, what came before a cut.
            for chunk in response.iter_raw():
                self.file.write(chunk)
                self.progress.advance(len(chunk))
        finally:
            self.file.flush()
            self.progress.end()
        return None

    def _remember_validator(self, response: httpx.Response) -> None:
        path = _validator_path(self.part)
        etag = response.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        if validator and validator.isascii():
            path.write_text(validator, encoding="ascii")
        else:
            path.unlink(missing_ok=True)  # nothing to resume by: the next attempt starts anew


def _validator_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _refused(url: str, status: int) -> ImagemillError:
    reason = {401: "wants a login", 403: "forbids it", 404: "knows no such file", 410: "has it no longer"}.get(
        status, "refuses"
    )
    return CallerError(f"{url}: the server {reason} ({status}); check the URL, or download the file and name its path")


@contextmanager
def _exclusive(part: Path) -> Iterator[BufferedRandom]:
    """Opens the unfinished file and holds it against other processes that want the same download."""
    while True:
        with part.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held it before may have renamed or removed it, and its name is free again.
            if part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno())):
                yield file
                return
