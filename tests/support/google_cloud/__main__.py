"""`python -m tests.support.google_cloud --port PORT`: a Google Cloud project on this machine, until terminated."""

from __future__ import annotations

import argparse
import asyncio
import signal

from aiohttp import web

from tests.support.google_cloud.api import Api
from tests.support.servers import LOOPBACK


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.google_cloud", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


async def _serve(port: int) -> None:
    runner = web.AppRunner(Api().application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    print("# serving", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    main()
