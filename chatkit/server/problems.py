"""Errors over HTTP: `application/problem+json` (RFC 9457) with the code that the same error has on the WebSocket."""

import logging
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from chatkit.errors import BadInput, ChatkitError, RateLimited, TooLarge

MEDIA_TYPE: Final = "application/problem+json"
STATUS: Final = {
    "body-too-large": 413,
    "data-too-large": 413,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "rate-limited": 429,
    "unavailable": 503,
}
"""The HTTP status of an error by its code; other bad input is 400, the rest 500."""
CODES: Final = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}
"""The code of an error that Litestar found before chatkit did."""

_logger = logging.getLogger(__name__)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong. `detail` is a sentence; `retry_after_s`, in seconds, is when to go on."""

    code: str
    title: str
    status: int
    detail: str
    retry_after_s: float | None = None


def status_of(error: ChatkitError) -> int:
    """Return an error's HTTP status."""
    return STATUS.get(error.code, 400 if isinstance(error, BadInput) else 500)


def problem_of(error: ChatkitError) -> Problem:
    """Put an error into words for the outside."""
    status = status_of(error)
    retry_after_s = error.retry_after_s if isinstance(error, RateLimited) else None
    return Problem(error.code, HTTPStatus(status).phrase, status, str(error), retry_after_s)


def answer_chatkit_error(_: Request[Any, Any, Any], error: ChatkitError) -> Response[Problem]:
    """Put one of chatkit's own errors into a response."""
    problem = problem_of(error)
    headers: dict[str, str] = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(ceil(problem.retry_after_s))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _respond(problem, headers)


def answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Put an error that Litestar found into the same form."""
    status = error.status_code
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # so large that it was not even read
        return answer_chatkit_error(request, TooLarge("body", request.app.state.lobby.house.limits.body))
    code = CODES.get(status, "error")
    return _respond(Problem(code, HTTPStatus(status).phrase, status, _sentence(error)), dict(error.headers or {}))


def answer_surprise(_: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Log what nobody foresaw, and say no more about it than that."""
    _logger.error("a request failed", exc_info=error)
    return _respond(Problem("internal", "Internal Server Error", 500, "the server failed; its log says how"), {})


def _respond(problem: Problem, headers: dict[str, str]) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _sentence(error: HTTPException) -> str:
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        return "; ".join(f"{found.get('key', 'input')}: {found.get('message')}" for found in error.extra)
    return error.detail
