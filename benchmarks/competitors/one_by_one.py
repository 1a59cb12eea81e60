"""Fetches one image after the other through google-cloud-storage, as tutorials do, and makes nothing of them.

`python -m benchmarks.competitors.one_by_one BUCKET INDEX IMAGES`: so many images of an index on this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from benchmarks.competitors.stopwatch import report


def fetch() -> int:
    bucket = Client("demo", AnonymousCredentials()).bucket(sys.argv[1])
    names = [line.split(",")[0] for line in Path(sys.argv[2]).read_text().splitlines()[: int(sys.argv[3])]]
    for name in names:
        bucket.blob(f"images/{name}").download_as_bytes()
    return len(names)


if __name__ == "__main__":
    report(fetch)
