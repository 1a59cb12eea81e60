"""A folder of this machine as a store, by plain file operations."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imagemill.errors import CallerError, TemporaryFault
from imagemill.storage import atomic, uri
from imagemill.storage.atomic import AtomicFile, at_rest_now, crc32c_of, generation_of, pread, same_state
from imagemill.storage.copying import stream_in
from imagemill.storage.faults import os_fault
from imagemill.storage.listing import walk
from imagemill.storage.store import (
    ABSENT,
    MissingObject,
    ObjectInfo,
    ObjectTooLarge,
    ObjectWriter,
    PreconditionFailed,
)

_READ_TRIES = 5
_NO_NAME = ValueError
"""What Python raises for a path that no file can have: with a NUL character, or not valid UTF-8."""
_ABSENT_CODES = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ})


class LocalStore:
    """Files below one folder, which need not exist before the first write.

    A generation is the file's modification time, inode and size. The store stamps its files with the clock's full
    resolution, so every write through it makes a new generation.

    Args:
        root: Absolute path of the folder.
    """

    parallel_reads = 1
    parallel_now = 1

    def __init__(self, root: str) -> None:
        self.uri = root
        self._base = root.rstrip("/") + "/"
        self._within = ""  # the folder that was proved last: most keys have that of the one before them

    def require_root(self) -> None:
        """Proves that the folder is there.

        Raises:
            CallerError: It is missing, a file, or out of reach.
        """
        self.require_target()
        try:
            os.scandir(self.uri).close()
        except FileNotFoundError:
            raise MissingObject(f"{self.uri}: there is no such folder; create it or check the spelling") from None
        except OSError as error:
            raise os_fault(error, self.uri, "list") from error

    def require_target(self) -> None:
        """Proves that the root is no file.

        Raises:
            CallerError: It is one.
        """
        if os.path.exists(self.uri) and not os.path.isdir(self.uri):
            raise CallerError(f"{self.uri} is a file, where a folder is wanted; name the folder that it is in")

    def require_within(self, key: str) -> None:
        """Proves that no symbolic link is on the way to `key`: `list` follows none, and it may lead out of the root."""
        folder = key[: key.rfind("/") + 1]
        if folder == self._within:
            return
        for end, letter in enumerate(folder):
            if letter == "/" and os.path.islink(link := self._base + folder[:end]):
                raise CallerError(
                    f"{link} is a symbolic link, and a sync writes through none; remove it, or exclude {folder[:end]}"
                )
        self._within = folder

    def read(self, key: str, *, max_bytes: int | None = None, at_rest: bool = False) -> bytes:
        """Returns the whole object as it was at one moment.

        Args:
            key: Name relative to the root.
            max_bytes: The largest object to accept.
            at_rest: Wait until the file is 50 ms old: somebody may still be writing it under its final name.

        Raises:
            MissingObject: There is none.
            ObjectTooLarge: It has more than `max_bytes`; decided before its bytes are read.
            TemporaryFault: It was being rewritten in place each time it was read.
        """
        for _ in range(_READ_TRIES):
            descriptor, before = self._open(key)
            try:
                if at_rest and not at_rest_now(descriptor, before):
                    continue
                if max_bytes is not None and before.st_size > max_bytes:
                    raise ObjectTooLarge(
                        f"{self._base}{key} has {before.st_size} bytes, more than {max_bytes}", before.st_size
                    )
                data = pread(descriptor, 0, before.st_size)
                if same_state(before, os.fstat(descriptor)) and len(data) == before.st_size:
                    return data
            except OSError as error:
                raise os_fault(error, self._base + key, "read") from error
            finally:
                os.close(descriptor)
        raise self._restless(key)

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset`; fewer where the object ends earlier.

        Raises:
            MissingObject: There is no such object.
        """
        if offset < 0 or length < 0:
            raise ValueError(f"a range starts at 0 or later and is not negative: offset {offset}, length {length}")
        descriptor, found = self._open(key)
        try:
            return pread(descriptor, offset, max(0, min(length, found.st_size - offset)))
        except OSError as error:
            raise os_fault(error, self._base + key, "read") from error
        finally:
            os.close(descriptor)

    def stat(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """Returns what is known of one object, with its generation, or None.

        Raises:
            TemporaryFault: A checksum was asked for while the object was being rewritten in place.
        """
        if checksum:
            return self._checked(key)
        try:
            found = os.stat(self._path(key))
        except _NO_NAME:
            return None
        except OSError as error:
            if error.errno in _ABSENT_CODES:
                return None
            raise os_fault(error, self._base + key, "look at") from error
        return _info(key, found) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str = "", *, checksums: bool = False) -> Iterator[ObjectInfo]:
        """Yields the objects whose key starts with `prefix`, sorted by the key's UTF-8 bytes, in flat memory.

        What a killed writer left behind is never listed, and removed when it is an hour old. `listing.walk` says what
        else is no object.

        Raises:
            CallerError: The root is a file, or a folder cannot be read.
        """
        if "/" in prefix and uri.escapes(prefix[: prefix.rfind("/")]):
            raise CallerError(f"{self.uri}: {prefix!r} is no prefix of a key; drop '.', '..' and empty segments")
        try:
            if os.path.exists(self.uri) and not os.path.isdir(self.uri):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            for info in walk(self._base, prefix):
                if not checksums:
                    yield info
                elif (checked := self._checked(info.key)) is not None:
                    yield ObjectInfo(info.key, checked.size, checked.crc32c)
        except OSError as error:
            raise os_fault(error, str(error.filename or self.uri), "list") from error

    def write(self, key: str, data: bytes, *, if_generation: str | None = None, durable: bool = True) -> ObjectInfo:
        """Stores an object whole or not at all.

        Returns:
            Its size, generation and the checksum of the bytes as they were read back.

        Raises:
            PreconditionFailed: `if_generation` is given and is not the object's generation.
        """
        path = self._new_path(key)
        if if_generation is None:
            return self._put(key, path, data, durable=durable)
        folder = os.path.dirname(path)
        try:
            with atomic.folder_lock(folder):
                self._require_generation(key, if_generation)
                return self._put(key, path, data, durable=durable)
        except OSError as error:
            raise os_fault(error, path, "write") from error

    @contextmanager
    def writer(self, key: str) -> Iterator[ObjectWriter]:
        """Streams an object that appears whole and durable when the block ends well, and not at all when it raises."""
        file = AtomicFile(self._new_path(key))
        try:
            file.hold()
            yield file
            file.commit()
        finally:
            file.discard()

    def copy_in(self, source: str, key: str) -> ObjectInfo:
        """Copies the object at the full URI `source` to `key`.

        Raises:
            MissingObject: There is no such object.
            TemporaryFault: It changed while it was copied.
        """
        return stream_in(source, self, key)

    def delete(self, key: str) -> None:
        """Removes an object, and the folders that it leaves empty; one that is already gone is fine."""
        path = self._base + key
        try:
            os.unlink(self._path(key))
        except _NO_NAME:
            return
        except OSError as error:
            if error.errno in _ABSENT_CODES or os.path.isdir(path):
                return
            raise os_fault(error, path, "delete") from error
        folder = os.path.dirname(path)
        with suppress(OSError):  # not empty: the usual end
            while len(folder) >= len(self._base):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def _path(self, key: str) -> str:
        if uri.escapes(key):
            raise CallerError(f"{self.uri}: {key!r} is no object name; drop '.', '..' and empty segments")
        return self._base + key

    def _new_path(self, key: str) -> str:
        uri.check_key(key, root=self.uri)
        return self._base + key

    def _open(self, key: str) -> tuple[int, os.stat_result]:
        path = self._path(key)
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except _NO_NAME as error:
            raise MissingObject(f"{self.uri}: {key!r} cannot exist: {error}") from None
        except OSError as error:
            if error.errno in _ABSENT_CODES:
                raise MissingObject(f"{path}: there is no such object") from None
            raise os_fault(error, path, "read") from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise MissingObject(f"{path}: there is no such object (it is no regular file)")
        return descriptor, found

    def _checked(self, key: str) -> ObjectInfo | None:
        for _ in range(_READ_TRIES):
            try:
                descriptor, before = self._open(key)
            except MissingObject:
                return None
            try:
                crc32c = crc32c_of(descriptor, before.st_size)
                if same_state(before, os.fstat(descriptor)):
                    return _info(key, before, crc32c)
            except OSError as error:
                raise os_fault(error, self._base + key, "read") from error
            finally:
                os.close(descriptor)
        raise self._restless(key)

    def _put(self, key: str, path: str, data: bytes, *, durable: bool) -> ObjectInfo:
        file = AtomicFile(path)
        try:
            file.write(data)
            crc32c = file.checksum()
            return _info(key, file.commit(durable=durable), crc32c)
        finally:
            file.discard()

    def _require_generation(self, key: str, expected: str) -> None:
        found = self.stat(key)
        generation = ABSENT if found is None else found.generation
        if generation != expected:
            wanted = "no object" if expected == ABSENT else f"generation {expected}"
            raise PreconditionFailed(
                f"{self._base}{key}: expected {wanted}, found {generation or 'none'}; somebody else wrote it first: "
                "read it again, then decide"
            )

    def _restless(self, key: str) -> TemporaryFault:
        return TemporaryFault(
            f"{self._base}{key} changed each of {_READ_TRIES} times it was read; try again when it rests"
        )


def _info(key: str, found: os.stat_result, crc32c: int | None = None) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, crc32c, generation_of(found))
