"""Litestar's connection types as this server uses them: without a user, and with the application's own state."""

from typing import TypeAlias

from litestar import Request, WebSocket
from litestar.datastructures import State

HttpRequest: TypeAlias = Request[None, None, State]
ServerSocket: TypeAlias = WebSocket[None, None, State]
