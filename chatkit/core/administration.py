"""Administration: everything that changes access, on the records of a backend, with an entry in `.audit` for each change.

Used by the server and by commands that work on the store itself, so that both keep the same rules. Every method checks
the rights of `by`, who makes the change, and raises `NotFound`, `Forbidden` or `VersionConflict`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from chatkit.core.access import Ban, Grant, Identity, RoomSettings
from chatkit.core.backend import Backend
from chatkit.core.token import Token, TokenKind

MAX_TOKENS: Final = 20_000  # of a store: each process keeps them all in memory, with about 1 KB each
MAX_BANS: Final = 10_000


class NewToken(msgspec.Struct, frozen=True):
    """A token with its secret, which is shown once."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.token.id})"  # a log or a traceback must not show the secret


class Administration:
    """Changes access in the store of a backend. `now_ms` is the clock, as Unix milliseconds."""

    def __init__(self, backend: Backend, now_ms: Callable[[], int]) -> None:
        self._backend = backend
        self._now_ms = now_ms

    async def add_token(
        self,
        by: Identity,
        name: str,
        grants: Sequence[Grant],
        *,
        kind: TokenKind = TokenKind.PERSON,
        expires_ms: int | None = None,
    ) -> NewToken: ...

    async def make_invite(
        self,
        by: Identity,
        grants: Sequence[Grant],
        *,
        uses: int = 1,
        expires_ms: int | None = None,
        name: str = "invite",
    ) -> NewToken: ...

    async def redeem(self, secret: str, name: str, address: str) -> NewToken: ...

    async def tokens(self, by: Identity) -> list[Token]: ...

    async def find_tokens(self, by: Identity, id_or_name: str) -> list[Token]: ...

    async def revoke(self, by: Identity, token_id: str) -> Token: ...

    async def rotate(self, by: Identity, token_id: str, *, overlap_s: int = 0) -> NewToken: ...

    async def record_use(self, token_id: str, used_ms: int, address: str) -> None: ...

    async def record_refusal(self, address: str, reason: str) -> None: ...

    async def ban(
        self,
        by: Identity,
        subject: str,
        *,
        room: str = "*",
        until_ms: int | None = None,
        reason: str = "",
        is_mute: bool = False,
    ) -> Ban: ...

    async def kick(self, by: Identity, name: str, room: str, reason: str = "") -> Ban: ...

    async def unban(self, by: Identity, ban_id: str) -> Ban: ...

    async def bans(self, by: Identity) -> list[Ban]: ...

    async def room_settings(self, room: str) -> RoomSettings: ...

    async def set_room(self, by: Identity, room: str, settings: RoomSettings) -> RoomSettings: ...
