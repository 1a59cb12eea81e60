"""Tells without reading them that the files of a folder are what they were.

A file that is written, in place or anew, gets another change time from the kernel, which no program can set. So a
folder in which all names, sizes, inodes and times are the same holds the same bytes, unless a file was written again
within the tick of the clock in which its stamp was taken. So files that young have no stamp until they have rested.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from imagemill.storage.atomic import REST_NS, generation_of
from imagemill.storage.store import ObjectInfo, ObjectWriter, Store
from imagemill.storage.uri import RESERVED

_TRIES = 3
_MODULUS = 1 << 128
_SECOND_NS = 1_000_000_000


def folder_stamp(root: str) -> str | None:
    """Returns the stamp of the files below a folder, in flat memory.

    None where it could prove nothing: a file was written just now or in the future, the file system keeps only whole
    seconds, a folder cannot be read, or a link leads to another one.
    """
    for _ in range(_TRIES):
        begun = time.time_ns()
        try:
            total, newest, fine = _stamped(root)
        except OSError:
            return None
        age = begun - newest
        if age >= REST_NS:
            return f"{total:032x}" if fine else None
        time.sleep(max(0, min(REST_NS - age, REST_NS)) / _SECOND_NS)
    return None


class Witness:
    """A local folder as a store that keeps account of the state in which each object was written or checked.

    For one thread.

    Args:
        store: The folder.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._total = 0
        self._last = ("", 0)
        self.uri = store.uri
        self.parallel_reads, self.parallel_now = store.parallel_reads, store.parallel_now

    def holds(self) -> bool:
        """Tells whether the folder's files are those that were seen, each in the state in which it was seen last."""
        total = 0
        for key, found in _files(self.uri):
            total += _digest(key, generation_of(found))
        return total % _MODULUS == self._total

    def stat(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        found = self._store.stat(key, checksum=checksum)
        if checksum and found is not None:
            self._see(key, found)
        return found

    def write(self, key: str, data: bytes, *, if_generation: str | None = None, durable: bool = True) -> ObjectInfo:
        return self._see(key, self._store.write(key, data, if_generation=if_generation, durable=durable))

    def copy_in(self, source: str, key: str) -> ObjectInfo:
        return self._see(key, self._store.copy_in(source, key))

    def writer(self, key: str) -> AbstractContextManager[ObjectWriter]:
        return self._store.writer(key)  # whoever streams asks for the checksum afterwards

    def require_root(self) -> None:
        self._store.require_root()

    def require_target(self) -> None:
        self._store.require_target()

    def require_within(self, key: str) -> None:
        self._store.require_within(key)

    def read(self, key: str, *, max_bytes: int | None = None, at_rest: bool = False) -> bytes:
        return self._store.read(key, max_bytes=max_bytes, at_rest=at_rest)

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        return self._store.read_range(key, offset, length)

    def list(self, prefix: str = "", *, checksums: bool = False) -> Iterator[ObjectInfo]:
        return self._store.list(prefix, checksums=checksums)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def _see(self, key: str, info: ObjectInfo) -> ObjectInfo:
        seen = _digest(key, info.generation or "")
        last_key, last_seen = self._last
        # Checked, found different and written: only what was seen last of an object counts.
        self._total = (self._total + seen - (last_seen if key == last_key else 0)) % _MODULUS
        self._last = (key, seen)
        return info


def _stamped(root: str) -> tuple[int, int, bool]:
    """Returns the sum over all files, the newest time among them, and whether any time is finer than a second."""
    total = newest = 0
    fine = False
    for key, found in _files(root):
        changed, modified = found.st_ctime_ns, found.st_mtime_ns
        total += _digest(key, f"{found.st_size} {found.st_ino} {modified} {changed}")
        newest = max(newest, changed, modified)
        fine = fine or bool(changed % _SECOND_NS)
    return total % _MODULUS, newest, fine


def _files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yields what a store lists of a folder, in any order."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if entry.name.startswith(RESERVED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{folder}{entry.name}/")
                elif stat.S_ISREG((found := entry.stat()).st_mode):
                    yield folder + entry.name, found
                elif stat.S_ISDIR(found.st_mode):
                    raise OSError(errno.ELOOP, "a link to a folder leads out of it", entry.path)


def _digest(key: str, state: str) -> int:
    line = f"{key}\0{state}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(line, digest_size=16).digest())
