"""Why a request is not answered as it wishes."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response


class Problem(Exception):  # noqa: N818 - it becomes a response, like Starlette's HTTPException
    """An HTTP status with one sentence and what to do."""

    def __init__(self, status: int, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.status, self.error, self.hint = status, error, hint

    def response(self) -> Response:
        """Return the response that says so."""
        return JSONResponse({"error": self.error, "hint": self.hint}, self.status)
