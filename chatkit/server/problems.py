"""Errors over HTTP: `application/problem+json` (RFC 9457) with the code that the same error has on the WebSocket."""

import logging
from http import HTTPStatus
from math import ceil
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from chatkit.errors import ChatkitError, TooLarge
from chatkit.server.token_masking import mask_tokens
from chatkit.wire.codes import code_of_status
from chatkit.wire.http import PROBLEM_MEDIA_TYPE, Problem

_logger = logging.getLogger(__name__)


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
    detail = mask_tokens(_sentence(error))
    return _respond(
        Problem(code_of_status(status), HTTPStatus(status).phrase, status, detail), dict(error.headers or {})
    )


def answer_surprise(_: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Log what nobody foresaw, and say no more about it than that."""
    _logger.error("a request failed", exc_info=error)
    return _respond(Problem("internal", "Internal Server Error", 500, "the server failed; its log says how"), {})


def problem_of(error: ChatkitError) -> Problem:
    """Describe an error to a client. No token that an address held is repeated."""
    problem = Problem.of(error)
    value = None if problem.value is None else mask_tokens(problem.value)
    return msgspec.structs.replace(problem, detail=mask_tokens(problem.detail), value=value)


def _respond(problem: Problem, headers: dict[str, str]) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def _sentence(error: HTTPException) -> str:
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        return "; ".join(f"{found.get('key', 'input')}: {found.get('message')}" for found in error.extra)
    return error.detail
