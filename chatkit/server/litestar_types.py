"""Litestar's connection types as this server uses them: the user is an identity, set by the guard `check_request`."""

from typing import TypeAlias

from litestar import Request, WebSocket
from litestar.datastructures import State

from chatkit.core.access import Identity

HttpRequest: TypeAlias = Request[Identity, None, State]
ServerSocket: TypeAlias = WebSocket[None, None, State]
