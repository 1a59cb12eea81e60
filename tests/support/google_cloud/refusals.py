"""How Google's APIs refuse."""

from __future__ import annotations

from typing import Any

from aiohttp import web

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
}


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        code: HTTP status of the answer.
        message: What the answer says.
        status: Google's name of the error; by default the usual one of the code.
    """

    def __init__(self, code: int, message: str, status: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status or STATUSES[code]

    def answer(self) -> web.Response:
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        return web.json_response({"error": error | {"errors": [{"message": self.message}]}}, status=self.code)
