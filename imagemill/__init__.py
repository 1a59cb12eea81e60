"""imagemill: labelled images in, validated and versioned TFRecord datasets out."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagemill.catalog import current as current
    from imagemill.records.reader import RecordReader as RecordReader

# Loaded when first asked for, so that the command line and DAG files start fast.
_LAZY = {
    "RecordReader": "imagemill.records.reader",
    "current": "imagemill.catalog",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
