"""`python -m tests.support.dataflow --gcs URL FOLDER`: a Dataflow on this machine, until it is terminated."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from aiohttp import web

from tests.support.dataflow.api import Api
from tests.support.dataflow.execution import Cluster
from tests.support.servers import LOOPBACK


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.dataflow", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gcs", required=True, help="URL of the storage emulator")
    parser.add_argument("folder", type=Path, help="where logs and what jobs have staged go")
    options = parser.parse_args()
    cluster = Cluster(options.folder, gcs=options.gcs)
    try:
        asyncio.run(_serve(options.port, cluster))
    finally:
        cluster.close()


async def _serve(port: int, cluster: Cluster) -> None:
    runner = web.AppRunner(Api(cluster).application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    print("# serving", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    main()
