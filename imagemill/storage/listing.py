"""Walk a folder in the order of full keys, in flat memory."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

from imagemill.storage.atomic import sweep
from imagemill.storage.spool import NameSpool
from imagemill.storage.store import ObjectInfo
from imagemill.storage.uri import RESERVED

RUN_ENTRIES = 200_000
"""Entries of one folder that are sorted in memory at once; more are sorted in runs on disk."""

_NOTHING = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR})  # vanished, dangling or circular


def walk(base: str, prefix: str, *, run_entries: int = RUN_ENTRIES) -> Iterator[ObjectInfo]:
    """Yields the files below a folder whose key starts with `prefix`, sorted by the key's UTF-8 bytes.

    Symbolic links to files are files; links to folders, dangling links, sockets and pipes are nothing. A name that is
    not valid UTF-8 keeps its bytes as surrogates (`os.fsdecode`): no store can hold it, and `key_fault` says so.

    Args:
        base: The folder's path, with "/" at its end.
        prefix: Any beginning of a key.
        run_entries: Entries of one folder to sort in memory at once.

    Raises:
        OSError: A folder cannot be read. A folder that is missing or vanishes meanwhile is empty.
    """
    start = prefix[: prefix.rfind("/") + 1]
    stack = [(start, _sorted_entries(base + start, prefix[len(start) :], run_entries))]
    while stack:
        folder, entries = stack[-1]
        for name in entries:
            key = folder + name
            if name.endswith("/"):
                stack.append((key, _sorted_entries(base + key, "", run_entries)))
                break
            info = _file(base + key, key)
            if info is not None:
                yield info
        else:
            stack.pop()


def _file(path: str, key: str) -> ObjectInfo | None:
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise
    return ObjectInfo(key, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _sorted_entries(folder: str, beginning: str, run_entries: int) -> Iterator[str]:
    """Yields names, folders with "/" at their end: sorted so, a depth-first walk meets full keys in order.

    Strings compare by code point, which is the order of their UTF-8 bytes.
    """
    entries = _entries(folder, beginning)
    first = sorted(islice(entries, run_entries))
    if len(first) < run_entries:
        return iter(first)
    return _merged(first, entries, run_entries)


def _merged(run: list[str], entries: Iterator[str], run_entries: int) -> Iterator[str]:
    with ExitStack() as spools:
        runs = []
        while run:
            runs.append(spools.enter_context(NameSpool(run)))
            run = sorted(islice(entries, run_entries))
        yield from heapq.merge(*runs)


def _entries(folder: str, beginning: str) -> Iterator[str]:
    try:
        found = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with found:
        for entry in found:
            name = entry.name
            if not name.startswith(beginning):
                continue
            if name.startswith(RESERVED):
                sweep(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield name + "/"
            else:
                yield name
