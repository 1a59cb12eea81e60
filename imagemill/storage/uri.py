"""Locations: `gs://bucket/prefix`, `file:///path` or a bare path, and the keys below them.

A canonical URI is a plain string: an absolute path for local folders, `scheme://bucket/prefix` for object stores.
Neither is percent-encoded, so the URI of a child is the URI of its root, "/" and the key. Only `file://` URIs are
percent-decoded, once, here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from imagemill.errors import CallerError

LOCAL = "file"
OBJECT_SCHEMES = ("gs", "s3", "az")

RESERVED = ".imagemill-"
"""How the store's own temporary files start; no listing shows them, no key may use them."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HALF_SCHEME = re.compile(r"(gs|s3|az|file|https?):/(?!/)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_KEY_BYTES = 1024  # Google Cloud Storage and S3 alike


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed place. `str()` gives its canonical URI.

    Attributes:
        scheme: "file", "gs", "s3" or "az".
        bucket: The bucket, or "" for local places.
        path: An absolute path for local places, otherwise the prefix without "/" at its ends.
    """

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        if self.scheme == LOCAL:
            return self.path
        return f"{self.scheme}://{self.bucket}/{self.path}".rstrip("/")

    @property
    def is_local(self) -> bool:
        return self.scheme == LOCAL

    def contains(self, other: Location) -> bool:
        """Tells whether `other` is this place or lies below it; symbolic links on the way are resolved."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        mine, theirs = self.path, other.path
        if self.is_local:
            mine, theirs = os.path.realpath(mine), os.path.realpath(theirs)
        outer = mine.rstrip("/") + "/" if mine else ""
        return f"{theirs.rstrip('/')}/".startswith(outer)


def parse(uri: str | os.PathLike[str]) -> Location:
    """Reads a location.

    Args:
        uri: A URI or a path. A `PathLike` is always a path, whatever it looks like.

    Raises:
        CallerError: The scheme is unknown, the bucket is missing, or the name cannot exist.
    """
    if not isinstance(uri, str):
        return Location(LOCAL, "", _absolute(os.fspath(uri), uri=os.fspath(uri)))
    matched = _SCHEME.fullmatch(uri)
    if matched is None:
        if _HALF_SCHEME.match(uri):
            raise CallerError(f"{uri!r} lacks a slash after its scheme; write {uri.replace(':/', '://', 1)!r}")
        return Location(LOCAL, "", _absolute(uri, uri=uri))
    scheme, rest = matched[1].lower(), matched[2]
    if scheme == LOCAL:
        return Location(LOCAL, "", _absolute(_path_of_file_uri(rest, uri=uri), uri=uri))
    if scheme not in OBJECT_SCHEMES:
        known = ", ".join(f"{name}://" for name in (*OBJECT_SCHEMES, LOCAL))
        raise CallerError(f"{uri!r}: unknown scheme {scheme!r}; use {known} or a path")
    return _in_bucket(scheme, rest, uri=uri)


def normalise(uri: str | os.PathLike[str]) -> str:
    """Returns the canonical URI: two spellings of one place are one string."""
    return str(parse(uri))


def is_local(uri: str | os.PathLike[str]) -> bool:
    """Tells whether a location is on this machine's file system."""
    return parse(uri).is_local


def join(uri: str | os.PathLike[str], key: str) -> str:
    """Returns the URI of `key` below `uri`.

    Raises:
        CallerError: The key would leave the root, or cannot exist.
    """
    root = normalise(uri)
    check_key(key, root=root)
    return f"{root.rstrip('/')}/{key}"


def split(uri: str | os.PathLike[str]) -> tuple[str, str]:
    """Returns the URI of the folder an object stands in, and the object's key there.

    Raises:
        CallerError: The location is a root or a bucket, so that it cannot be an object.
    """
    location = parse(uri)
    folder, _, name = location.path.rpartition("/")
    if not name:
        raise CallerError(f"{os.fspath(uri)!r} names no object; add a name to it")
    if location.is_local:
        return folder or "/", name
    return str(Location(location.scheme, location.bucket, folder)), name


def escapes(key: str) -> bool:
    """Tells whether a key could name something outside its root, or the root itself."""
    framed = f"/{key}/"
    return "//" in framed or "/../" in framed or "/./" in framed


def key_fault(key: str) -> str | None:
    """Returns why no store can hold an object of this name, or None where every store can."""
    if escapes(key):
        return "has an empty, '.' or '..' segment"
    if _CONTROL.search(key):
        return "has a control character"
    if f"/{RESERVED}" in f"/{key}":
        return f"has a segment that starts with {RESERVED!r}, which is reserved"
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if len(encoded) > _MAX_KEY_BYTES:
        return f"has {len(encoded)} bytes, more than {_MAX_KEY_BYTES}"
    return None


def check_key(key: str, *, root: str) -> None:
    """Refuses a name that no store can hold.

    Raises:
        CallerError: It names the key, the root and the fault.
    """
    fault = key_fault(key)
    if fault is not None:
        raise CallerError(f"{root}: the object name {key!r} {fault}; rename it")


def _absolute(path: str, *, uri: str) -> str:
    if not path:
        raise CallerError("the location is empty; give a path or a URI such as gs://bucket/prefix")
    if _CONTROL.search(path):
        raise CallerError(f"{uri!r} has a control character; rename the folder")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise CallerError(f"{uri!r} is not valid UTF-8; rename the folder") from None
    if ".." in path.split("/"):
        # The kernel resolves links before "..", so cutting the text would name another folder.
        return os.path.realpath(path)
    return "/" + os.path.abspath(path).lstrip("/")


def _path_of_file_uri(rest: str, *, uri: str) -> str:
    host, slash, path = rest.partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise CallerError(f"{uri!r}: a file URI has three slashes and an absolute path, as in file:///data/images")
    try:
        return "/" + unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise CallerError(f"{uri!r} is not percent-encoded UTF-8; rename the folder or give the plain path") from None


def _in_bucket(scheme: str, rest: str, *, uri: str) -> Location:
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise CallerError(f"{uri!r} names no bucket; write {scheme}://bucket/prefix")
    if not _BUCKET.fullmatch(bucket):
        raise CallerError(f"{uri!r}: {bucket!r} is no bucket name (lower-case letters, digits, '-', '_', '.')")
    path = path.removesuffix("/")
    if path:
        check_key(path, root=f"{scheme}://{bucket}")
    return Location(scheme, bucket, path)
