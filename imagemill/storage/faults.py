"""Turn the operating system's errors into the three families."""

from __future__ import annotations

import errno
import os

from imagemill.errors import CallerError, TemporaryFault

_WAYS_OUT = {
    errno.EACCES: "grant this user the permission, or choose another place",
    errno.EPERM: "grant this user the permission, or choose another place",
    errno.EROFS: "choose a place on a writable file system",
    errno.ENOSPC: "free some space or choose another place, then run it again",
    errno.EDQUOT: "free some of this user's quota or choose another place, then run it again",
    errno.EFBIG: "the file system or a limit (ulimit -f) refuses files of this size; raise it or choose another place",
    errno.ENOTDIR: "a file stands where a folder must be; remove it or choose another place",
    errno.EISDIR: "a folder stands where a file must be; remove it or choose another place",
    errno.ENOTEMPTY: "a folder stands where a file must be; remove it or choose another place",
    errno.ENAMETOOLONG: "shorten the name; file systems hold 255 bytes a segment",
    errno.ELOOP: "remove the circular symbolic link",
    errno.EILSEQ: "the file system cannot hold this name; rename it",
    errno.EINVAL: "the file system cannot hold this name; rename it",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENOENT: "something on the way does not exist; create it or check the spelling",
}

_TEMPORARY = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EBUSY,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOLCK,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    }
)

OBSTRUCTED = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST})
"""What a file system says of `x` beside `x/y`."""


class ObstructedKey(CallerError):
    """A folder cannot hold `x` beside `x/y`, and the other one is already there."""


def os_fault(error: OSError, path: str, doing: str) -> Exception:
    """Returns what to raise for an error of the operating system.

    Args:
        error: What was caught.
        path: The file or folder concerned.
        doing: The attempt, as in "read" or "write".

    Returns:
        A `CallerError` or `TemporaryFault` that names the path and the way out, or the error itself where neither fits.
    """
    code = error.errno or 0
    if code in _TEMPORARY:
        return TemporaryFault(f"cannot {doing} {path}: {os.strerror(code)}; try again later")
    if code in OBSTRUCTED:
        return ObstructedKey(
            f"cannot {doing} {path}: {os.strerror(code)}; {_WAYS_OUT.get(code, _WAYS_OUT[errno.EISDIR])}"
        )
    if code in _WAYS_OUT:
        return CallerError(f"cannot {doing} {path}: {os.strerror(code)}; {_WAYS_OUT[code]}")
    return error
