"""Litestar's connection types as this server uses them: guards set `user`, an identity, and `auth`, its credentials."""

from typing import Protocol, TypeAlias

from litestar import Request, WebSocket
from litestar.datastructures import State

from chatkit.core.access import Identity
from chatkit.server.identity import Credentials

HttpRequest: TypeAlias = Request[Identity, Credentials, State]
ServerSocket: TypeAlias = WebSocket[None, None, State]


class IdentifiedRequest(Protocol):
    """What the checks of `Admission` need of a request: one of Litestar's, or a `PlainRequest`."""

    @property
    def user(self) -> Identity: ...

    @property
    def auth(self) -> Credentials: ...

    @property
    def client(self) -> tuple[str, int] | None: ...
