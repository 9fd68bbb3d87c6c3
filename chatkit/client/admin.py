"""The calls that administer a server: tokens, invites, bans and settings of rooms. Blocking, as those of `http`."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from chatkit.client.endpoint import room_path
from chatkit.client.http import HttpClient
from chatkit.client.validation import MAX_COUNT, MAX_NAME_CHARS, check_room_view, decode, incompatible, read_time
from chatkit.core.access import ALL_ROOMS, BanSubject, Grant
from chatkit.core.model import Message, format_time
from chatkit.core.token import TokenKind, parse_secret
from chatkit.wire.access import (
    BanListing,
    BanRequest,
    BanView,
    InviteRequest,
    NewTokenView,
    RedeemRequest,
    RenameRequest,
    RoomSettingsChange,
    RotateRequest,
    TokenList,
    TokenRequest,
    TokenView,
)
from chatkit.wire.http import RoomView

MAX_REASON_CHARS: Final = 1_000  # of a ban: it is printed

View = TypeVar("View", TokenView, NewTokenView)


class AdminClient(HttpClient):
    """The calls of a server's administrator and moderators.

    A call that makes or removes something is made once: if the connection breaks, `Unavailable` is raised, and the
    server may have carried it out nevertheless. Every call may raise the error with which the server refuses it.
    """

    def add_token(
        self,
        name: str,
        grants: Sequence[Grant],
        *,
        kind: TokenKind = TokenKind.PERSON,
        expires_ms: int | None = None,
        signing_secret: str | None = None,
    ) -> NewTokenView:
        """Make a token that binds a name. `expires_ms` is Unix time in milliseconds, or None for no end.

        With `signing_secret`, a hook accepts only requests that prove it.
        """
        return self._new_token("/tokens", TokenRequest(name, tuple(grants), kind, _written(expires_ms), signing_secret))

    def make_invite(self, grants: Sequence[Grant], *, uses: int = 1, expires_ms: int | None = None) -> NewTokenView:
        """Make an invite that can be redeemed `uses` times for a token with these grants."""
        return self._new_token("/invites", InviteRequest(tuple(grants), uses, _written(expires_ms)))

    def redeem(self, secret: str, name: str) -> NewTokenView:
        """Redeem an invite for a token with a name that is free. It needs no token."""
        return self._new_token("/invites/redeem", RedeemRequest(secret, name))

    def tokens(self) -> list[TokenView]:
        """List all tokens, also those that were revoked or have expired."""
        return [_check_token(view) for view in decode(self._call("GET", "/tokens").body, TokenList).tokens]

    def revoke(self, token_id: str) -> TokenView:
        """Revoke a token and return it. What is open with it is closed."""
        answer = self._call("DELETE", f"/tokens/{quote(token_id, safe='')}", once=True)
        return _check_token(decode(answer.body, TokenView))

    def remove(self, token_id: str) -> TokenView:
        """Remove a token that was revoked or has expired, and return it. Without tokens, a name is free."""
        answer = self._call("POST", f"/tokens/{quote(token_id, safe='')}/remove", once=True)
        return _check_token(decode(answer.body, TokenView))

    def rotate(self, token_id: str, *, overlap_s: int = 0) -> NewTokenView:
        """Replace the secret of a token. The old one stays valid for `overlap_s` seconds."""
        return self._new_token(f"/tokens/{quote(token_id, safe='')}/rotate", RotateRequest(overlap_s))

    def bans(self) -> list[BanView]:
        """List the bans."""
        return [_check_ban(view) for view in decode(self._call("GET", "/bans").body, BanListing).bans]

    def ban(
        self,
        subject: str,
        *,
        kind: BanSubject | None = None,
        room: str = ALL_ROOMS,
        until_ms: int | None = None,
        reason: str = "",
        is_mute: bool = False,
    ) -> BanView:
        """Ban a name, a network or the token with an id, from a room or from all. A mute leaves the right to read.

        Without a `kind`, the subject is a network if it can be one, and a name otherwise.
        """
        request = BanRequest(subject, kind, room, _written(until_ms), reason, is_mute)
        return _check_ban(decode(self._post("/bans", request), BanView))

    def unban(self, ban_id: str) -> BanView:
        """Remove a ban and return it."""
        answer = self._call("DELETE", f"/bans/{quote(ban_id, safe='')}", once=True)
        return _check_ban(decode(answer.body, BanView))

    def set_room(self, room: str, settings: RoomSettingsChange) -> RoomView:
        """Change settings of a room and return the room."""
        answer = self._call("PATCH", room_path(room), msgspec.json.encode(settings))
        return check_room_view(decode(answer.body, RoomView))

    def delete_room(self, room: str) -> None:
        """Delete a room and its log for good."""
        self._call("DELETE", room_path(room), once=True)

    def rename_room(self, room: str, new: str) -> RoomView:
        """Give a room another name, which its readers follow, and return the room."""
        return check_room_view(decode(self._post(f"{room_path(room)}/rename", RenameRequest(new)), RoomView))

    def message(self, room: str, seq: int) -> Message | None:
        """Return a message in its current state, or a change as it was written; None if it is not stored."""
        for raw in (False, True):
            found = self.history(room, after=seq - 1, before=seq + 1, limit=1, raw=raw).messages
            if found:
                return found[0]
        return None

    def _new_token(
        self, path: str, request: TokenRequest | InviteRequest | RedeemRequest | RotateRequest
    ) -> NewTokenView:
        view = _check_token(decode(self._post(path, request), NewTokenView))
        if parse_secret(view.secret) is None:  # it is printed, and sent in a header
            raise incompatible("a secret that is not one")
        return view

    def _post(self, path: str, request: Any) -> bytes:
        return self._call("POST", path, msgspec.json.encode(request), once=True).body


def _check_token(view: View) -> View:
    _check_texts(view.id, view.name, view.made_by)
    _check_times(view.created, view.expires, view.last_used, view.revoked, view.previous_until)
    if view.uses_left is not None and not 0 <= view.uses_left <= MAX_COUNT:
        raise incompatible("a number of uses out of range")
    return view


def _check_ban(view: BanView) -> BanView:
    _check_texts(view.id, view.subject, view.room, view.made_by)
    if len(view.reason) > MAX_REASON_CHARS:
        raise incompatible(f"a reason of {len(view.reason)} characters")
    _check_times(view.created, view.until)
    return view


def _check_texts(*texts: str) -> None:
    for text in texts:
        if len(text) > MAX_NAME_CHARS:
            raise incompatible(f"a name of {len(text)} characters")


def _check_times(*times: str | None) -> None:
    for time in times:
        if time is not None:
            read_time(time)


def _written(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time(time_ms)
