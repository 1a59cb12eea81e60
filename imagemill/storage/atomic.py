"""Files that appear whole or not at all, and what tells that one rests: names, renames, flushes, locks, states."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import google_crc32c

from imagemill.storage.faults import os_fault
from imagemill.storage.uri import RESERVED

TEMPORARY = f"{RESERVED}tmp-"
_LOCK = f"{RESERVED}lock"

LEFTOVER_SECONDS = 3600
"""Age at which a temporary file that nobody holds is what a killed writer left behind."""

BUFFER_BYTES = 1 << 20

REST_NS = 50_000_000
"""Age at which a file counts as written, and the next write has another time: many ticks (1 to 10 ms) of file times."""

_ATTEMPTS = 20  # against another process that prunes the folder again and again
_token = secrets.token_hex(4)
_numbers = count()


class AtomicFile:
    """A file under a temporary name, until `commit` gives it its own. Not thread-safe; end it with `discard`, always.

    Args:
        path: The final name.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        try:
            self._descriptor, self._temporary = create_temporary(os.path.dirname(path))
        except OSError as error:
            raise os_fault(error, path, "write") from error

    def hold(self) -> None:
        """Keeps a sweeper's hands off for as long as this process lives, however slow the writing is."""
        with suppress(OSError):  # a file system without locks has only the age to go by
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def write(self, data: bytes, /) -> int:
        """Appends bytes; small pieces are gathered first."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= BUFFER_BYTES:
            self._flush()
        return len(data)

    def checksum(self) -> int:
        """Returns the CRC-32C of what the file holds now, read back from it."""
        self._flush()
        try:
            return crc32c_of(self._descriptor, os.fstat(self._descriptor).st_size)
        except OSError as error:
            raise os_fault(error, self.path, "read back") from error

    def commit(self, *, durable: bool = True) -> os.stat_result:
        """Gives the file its final name.

        Args:
            durable: Wait until bytes and name are on the disk, so that nothing written later can outlive them.
        """
        self._flush()
        try:
            stamp(self._descriptor)
            if durable:
                os.fsync(self._descriptor)
            found = os.fstat(self._descriptor)
            self._close()  # before the name is given: network file systems report lost writes here
            os.rename(self._temporary, self.path)
            self._temporary = ""
            if durable:
                flush_folder(os.path.dirname(self.path))
        except OSError as error:
            raise os_fault(error, self.path, "write") from error
        return found

    def discard(self) -> None:
        """Removes what was not committed."""
        with suppress(OSError):
            self._close()
        if self._temporary:
            with suppress(OSError):
                os.unlink(self._temporary)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _flush(self) -> None:
        if not self._waiting:
            return
        data = memoryview(self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise os_fault(error, self.path, "write") from error


def crc32c_of(descriptor: int, size: int) -> int:
    """Returns the CRC-32C of an open file's first `size` bytes."""
    crc, offset = 0, 0
    # A buffer no larger than the file: small files are many, and a large buffer costs more than reading them.
    while offset < size and (chunk := os.pread(descriptor, min(BUFFER_BYTES, size - offset), offset)):
        crc = google_crc32c.extend(crc, chunk)
        offset += len(chunk)
    return crc


def create_temporary(folder: str) -> tuple[int, str]:
    """Opens a new file in `folder`, which is made where it is missing, under a name no listing shows.

    Returns:
        The file descriptor, readable and writable, and the path.
    """
    # The process id is asked each time: a forked child shares the token and the counter's position.
    path = f"{folder}/{TEMPORARY}{_token}-{os.getpid()}-{next(_numbers)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(_ATTEMPTS):
        try:
            return os.open(path, flags, 0o666), path
        except FileNotFoundError:
            with suppress(FileNotFoundError):  # pruned again meanwhile
                make_folder(folder)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)


def make_folder(folder: str) -> None:
    """Makes a folder and its parents, each entered durably in its parent."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    for made in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(made)
            flush_folder(os.path.dirname(made))
        if _is_obstacle(made):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), made)


def _is_obstacle(path: str) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:  # removed again by somebody who prunes, or a link to nothing
        return os.path.islink(path)


def flush_folder(folder: str) -> None:
    """Waits until a folder's entries are on the disk."""
    descriptor = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems flush no folders; their servers do it with every rename.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def stamp(descriptor: int) -> None:
    """Gives a file a modification time of the clock's full resolution.

    The kernel's own stamps move in ticks of some milliseconds: two writes within one would look like one generation.
    """
    now = time.time_ns()
    os.utime(descriptor, ns=(now, now))


@contextmanager
def folder_lock(folder: str) -> Iterator[None]:
    """Holds the lock of a folder against other threads and processes; it leaves no file behind."""
    path = f"{folder}/{_LOCK}"
    descriptor = _locked(path)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _locked(path: str) -> int:
    while True:
        # flock, not lockf: it belongs to the open file, so that threads of one process exclude each other too.
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            make_folder(os.path.dirname(path))
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # The one before us removed this lock file; whoever holds the new one goes first.


def sweep(path: str) -> None:
    """Removes what a killed writer left behind, if it is old enough and nobody holds it."""
    if not os.path.basename(path).startswith(TEMPORARY):
        return
    with suppress(OSError):
        if time.time() - os.stat(path).st_mtime < LEFTOVER_SECONDS:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)


def pread(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]  # Linux reads at most 2 GiB at once
    while data and (offset := offset + len(data)) and (length := length - len(data)):
        data = os.pread(descriptor, length, offset)
        parts.append(data)
    return b"".join(parts)


def at_rest_now(descriptor: int, found: os.stat_result) -> bool:
    """Tells whether nobody is rewriting a file, waiting a moment where it is too young to say."""
    age = time.time_ns() - found.st_mtime_ns
    if 0 <= age < REST_NS:
        time.sleep((REST_NS - age) / 1e9)
        return same_state(found, os.fstat(descriptor))
    return True


def same_state(before: os.stat_result, after: os.stat_result) -> bool:
    return before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size


def generation_of(found: os.stat_result) -> str:
    """Returns the generation of a file in this state."""
    return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"
