"""How a stand-in of a service serves: on loopback, until its process is told to end."""

from __future__ import annotations

import asyncio
import signal

from aiohttp import web

from tests.support.servers import LOOPBACK


async def serve(application: web.Application, port: int) -> None:
    """Serves, after printing `# serving`, until SIGTERM."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    print("# serving", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
