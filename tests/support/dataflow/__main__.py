"""`python -m tests.support.dataflow --gcs URL FOLDER`: a Dataflow on this machine, until it is terminated."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tests.support.dataflow.api import Api
from tests.support.dataflow.execution import Cluster
from tests.support.serving import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.dataflow", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gcs", required=True, help="URL of the storage emulator")
    parser.add_argument("folder", type=Path, help="where logs and what jobs have staged go")
    options = parser.parse_args()
    cluster = Cluster(options.folder, gcs=options.gcs)
    try:
        asyncio.run(serve(Api(cluster).application(), options.port))
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
