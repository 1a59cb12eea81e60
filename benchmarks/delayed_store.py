"""A store that nobody waits for longer than its latency: `python -m benchmarks.delayed_store PORT UPSTREAM SECONDS`.

It forwards what is asked for the first time to the emulator at UPSTREAM, and answers it from memory ever after, SECONDS
later. The emulator itself computes for a millisecond on each image, on the cores of its clients: it would be the
emulator that is measured. Reads only (GET and HEAD).
"""

from __future__ import annotations

import asyncio
import http.client
import sys
from urllib.parse import urlsplit

_KEPT = {"content-type", "etag", "last-modified"}
"""Headers that are passed on; besides all of `x-goog-`."""


class Reads(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, upstream: str, seconds: float, answers: dict[tuple[bytes, bytes], bytes]) -> None:
        self._upstream, self._seconds, self._answers = urlsplit(upstream).netloc, seconds, answers
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *whole, self._waiting = (self._waiting + data).split(b"\r\n\r\n")
        for request in whole:
            line, *headers = request.split(b"\r\n")
            ranges = [header for header in headers if header.lower().startswith(b"range:")]
            key = line, b"".join(ranges)
            if key not in self._answers:
                self._answers[key] = self._ask(*key)
            asyncio.get_running_loop().call_later(self._seconds, self._answer, self._answers[key])

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)

    def _ask(self, line: bytes, ranges: bytes) -> bytes:
        method, path, _ = line.decode().split(" ")
        connection = http.client.HTTPConnection(self._upstream)
        connection.request(method, path, headers=dict([ranges.decode().split(": ")]) if ranges else {})
        found = connection.getresponse()
        body = found.read()
        kept = [(name, value) for name, value in found.getheaders() if _is_kept(name)]
        size = found.getheader("content-length", "0") if method == "HEAD" else str(len(body))
        head = [f"HTTP/1.1 {found.status} {found.reason}", *(f"{name}: {value}" for name, value in kept)]
        return "\r\n".join([*head, f"content-length: {size}", "", ""]).encode() + body


def _is_kept(name: str) -> bool:
    return name.lower() in _KEPT or name.lower().startswith(("x-goog-", "content-range"))


async def serve(port: int, upstream: str, seconds: float) -> None:
    answers: dict[tuple[bytes, bytes], bytes] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Reads(upstream, seconds, answers), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
