"""Administration: tokens and invites are made, rotated and revoked, each with an entry in the audit.

The server and the commands that work on the store itself use it, so that both keep the same rules. Each method checks
the grants of `by`, who makes the change. Whether `by` is banned or was revoked is for the caller to check: see
`AccessTable.check`.

A name is held by all tokens that were made for it, also after they were revoked or have expired, so that nobody can
pose as a person who left. It is free again when the last of these tokens has been removed.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from chatkit.core import access_records
from chatkit.core.access import Grant, Identity, Right, check_grants, require
from chatkit.core.access_store import AccessStore
from chatkit.core.audit import SERVER_NAME, Audit, AuditEvent, RefusedAttempts
from chatkit.core.backend import Backend
from chatkit.core.model import check_end, check_sender, format_time
from chatkit.core.names import is_anonymous, is_role, skeletons
from chatkit.core.token import MAX_SIGNING_CHARS, Token, TokenKind, digest_of, new_secret, new_token_id, parse_secret
from chatkit.errors import BadRequest, ChatkitError, InviteUsed, NameTaken, NotFound, Unauthorized

MAX_TOKENS: Final = 20_000  # of a store: each process keeps all of them in memory, with about 1 KB each
MAX_USES: Final = 10_000  # of an invite
MAX_OVERLAP_S: Final = 30 * 86_400  # a secret that was replaced is not valid for longer than a month


class NewToken(msgspec.Struct, frozen=True):
    """A token with its secret, which is kept nowhere."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.token.id!r})"  # a log or traceback must not hold the secret


class Administration:
    """Changes the tokens in the store of a backend. `now_ms` is the clock, as Unix milliseconds.

    The caller closes the `audit`; without one, entries that the store refuses may be missing at the end.
    """

    def __init__(self, backend: Backend, now_ms: Callable[[], int], audit: Audit | None = None) -> None:
        self._audit = audit or Audit(backend, now_ms)
        self._store = AccessStore(backend)
        self._now_ms = now_ms
        self._attempts = RefusedAttempts()

    # Tokens

    async def add_token(
        self,
        by: Identity,
        name: str,
        grants: Sequence[Grant],
        *,
        kind: TokenKind = TokenKind.PERSON,
        expires_ms: int | None = None,
        signing_secret: str | None = None,
    ) -> NewToken:
        """Make a token for a name, which may have other tokens already.

        Needs `admin` on all rooms. Raise `NameTaken` if the name only looks like one that is held, and `BadName` or
        `BadRequest` for an invalid name, grant or time. A hook may write to one room, and do nothing else; only a hook
        may have a `signing_secret`.
        """
        require(by, Right.ADMIN, None)
        if kind is TokenKind.INVITE:
            raise BadRequest("an invite has no name: use make_invite")
        grants = check_grants(grants)
        if kind is TokenKind.HOOK:
            _check_hook(grants)
        _check_signing_secret(kind, signing_secret)
        new = self._new_token(_check_name(name), grants, kind, by.name, expires_ms)
        new = NewToken(replace(new.token, signing_secret=signing_secret), new.secret)
        await self._check_room_for_token()
        await self._store.add_token(new.token, may_share=True)
        sentence = f"made a {kind} token for {new.token.name}: {_describe(new.token.grants)}"
        await self._record(AuditEvent.TOKEN_ADDED, by, sentence, new.token)
        return new

    def _new_token(
        self, name: str, grants: tuple[Grant, ...], kind: TokenKind, made_by: str, expires_ms: int | None
    ) -> NewToken:
        now_ms = self._now_ms()
        check_end(expires_ms, now_ms, "a token")
        token_id = new_token_id()
        secret = new_secret(token_id)
        return NewToken(Token(token_id, name, kind, grants, digest_of(secret), now_ms, made_by, expires_ms), secret)

    async def _check_room_for_token(self) -> None:
        if await self._store.count(access_records.TOKEN) >= MAX_TOKENS:
            raise BadRequest(f"a store holds at most {MAX_TOKENS} tokens: 'chatkit token remove' frees places")

    async def _record(self, event: AuditEvent, by: Identity, sentence: str, token: Token) -> None:
        details = {
            "name": token.name,
            "kind": token.kind.value,
            "grants": msgspec.to_builtins(token.grants),
            "expires": None if token.expires_ms is None else format_time(token.expires_ms),
        }
        await self._audit.append(event, by, sentence, token.id, details)

    async def tokens(self, by: Identity) -> list[Token]:
        """Return all tokens, the oldest first. Needs `admin` on all rooms."""
        require(by, Right.ADMIN, None)
        return await self._store.by_age(access_records.TOKEN, Token)

    async def revoke(self, by: Identity, token_id: str) -> Token:
        """Revoke one token, and no other of its name. Needs `admin` on all rooms, except for the token of `by`.

        The name stays reserved: see `remove`. To revoke a token again changes nothing.
        """
        _require_owner(by, token_id)
        now_ms = self._now_ms()

        def change(token: Token) -> Token:
            return token if token.revoked_ms is not None else replace(token, revoked_ms=now_ms)

        before, token = await self._update_token(token_id, change)
        if before != token:
            await self._record(AuditEvent.TOKEN_REVOKED, by, f"revoked a token of {token.name}", token)
        return token

    async def remove(self, by: Identity, token_id: str) -> Token:
        """Delete a token that was revoked or has expired. If it was the last of its name, the name is free again.

        Needs `admin` on all rooms. If it was the last of the store, a server on a loopback address is open again.
        """
        require(by, Right.ADMIN, None)

        def delete(token: Token | None) -> None:
            if token is None:
                raise _no_such_token(token_id)
            if token.is_live(self._now_ms()):
                raise BadRequest("this token is in use: revoke it first")

        token, _ = await self._store.update(access_records.TOKEN, token_id, Token, delete)
        if token is None:
            raise _no_such_token(token_id)
        if token.kind is not TokenKind.INVITE:
            await self._store.release(token.name, token_id)
        await self._record(AuditEvent.TOKEN_REMOVED, by, f"removed a token of {token.name}", token)
        return token

    async def rotate(self, by: Identity, token_id: str, *, overlap_s: int = 0) -> NewToken:
        """Replace the secret of a token; the secret before it stays valid for `overlap_s` seconds.

        Needs `admin` on all rooms, except for the token of `by`, which `by` must use with its current secret: the one
        before it may be known to others. Raise `BadRequest` for a token that has ended.
        """
        _require_owner(by, token_id)
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise BadRequest(f"an overlap is at most {MAX_OVERLAP_S // 86_400} days ({MAX_OVERLAP_S} seconds)")
        secret, now_ms = new_secret(token_id), self._now_ms()

        def change(token: Token) -> Token:
            if token.digest != by.digest:
                require(by, Right.ADMIN, None)
            if not token.is_live(now_ms):
                raise BadRequest("this token was revoked or has expired: add another")
            return replace(
                token,
                digest=digest_of(secret),
                previous_digest=token.digest if overlap_s else None,
                previous_until_ms=now_ms + overlap_s * 1000 if overlap_s else None,
            )

        _, token = await self._update_token(token_id, change)
        await self._record(AuditEvent.TOKEN_ROTATED, by, f"replaced the secret of a token of {token.name}", token)
        return NewToken(token, secret)

    async def _update_token(self, token_id: str, change: Callable[[Token], Token]) -> tuple[Token, Token]:
        def change_existing(token: Token | None) -> Token:
            if token is None:
                raise _no_such_token(token_id)
            return change(token)

        before, after = await self._store.update(access_records.TOKEN, token_id, Token, change_existing)
        if before is None or after is None:
            raise _no_such_token(token_id)
        return before, after

    async def record_use(self, token_id: str, used_ms: int, address: str) -> None:
        """Keep when a token was used (`AccessTable.drain_uses`). Its first use of all is an entry of the audit."""

        def change(token: Token) -> Token:
            return replace(token, last_used_ms=used_ms)

        try:
            before, token = await self._update_token(token_id, change)
        except NotFound:
            return  # it was removed since
        if before.last_used_ms is None:
            user = token.identity("", None, address)
            await self._record(AuditEvent.TOKEN_USED, user, "used this token for the first time", token)

    async def record_refusal(self, address: str, reason: str) -> None:
        """Append an entry about an attempt that was refused: one for each client and minute, few for all together.

        `reason` is the sentence of an error, never what the client sent.
        """
        if self._attempts.is_new(address, self._now_ms()):
            server = Identity(SERVER_NAME, address=address)
            await self._audit.append(AuditEvent.ATTEMPT_REFUSED, server, f"refused a client: {reason}", address)

    # Invites

    async def make_invite(
        self, by: Identity, grants: Sequence[Grant], *, uses: int = 1, expires_ms: int | None = None
    ) -> NewToken:
        """Make an invite, which can be redeemed `uses` times for a token with these grants.

        Needs `admin` on all rooms. Raise `BadRequest` for an invalid grant, number or time.
        """
        require(by, Right.ADMIN, None)
        if not 1 <= uses <= MAX_USES:
            raise BadRequest(f"an invite has 1 to {MAX_USES} uses")
        new = self._new_token("invite", check_grants(grants), TokenKind.INVITE, by.name, expires_ms)
        new = NewToken(replace(new.token, uses_left=uses), new.secret)
        await self._check_room_for_token()
        await self._store.put_token(new.token)
        sentence = f"made an invite with {uses} use{'s' * (uses > 1)}: {_describe(new.token.grants)}"
        await self._record(AuditEvent.INVITE_ADDED, by, sentence, new.token)
        return new

    async def redeem(self, secret: str, guest: Identity) -> NewToken:
        """Redeem an invite for a personal token with the name of a guest, whom `AccessTable.guest` admitted.

        Raise `Unauthorized` if the secret is not that of an invite, `InviteUsed` if it has no use left or has expired,
        and `NameTaken` if the name looks like one that is held or like a role; then the invite is not used. Of
        concurrent calls, by any process, no more succeed than the invite has uses. If the store fails in between, a use
        may be lost.
        """
        invite = await self._find_invite(secret)
        name = _check_name(guest.name)
        if is_role(name):
            raise NameTaken(name)
        await self._check_room_for_token()
        new = self._new_token(name, invite.grants, TokenKind.PERSON, f"invite {invite.id}", None)
        await self._store.reserve(name, new.token.id, may_share=False)
        try:
            await self._update_token(invite.id, self._use_invite)
            await self._store.put_token(new.token)
        except ChatkitError:
            await self._store.release(name, new.token.id)
            raise
        by = new.token.identity("", None, guest.address)
        await self._record(AuditEvent.INVITE_REDEEMED, by, f"redeemed the invite {invite.id}", new.token)
        return new

    async def check_invite(self, secret: str) -> None:
        """Raise `Unauthorized` or `InviteUsed` unless a secret is that of an invite that can be redeemed now."""
        await self._find_invite(secret)

    async def _find_invite(self, secret: str) -> Token:
        parsed = parse_secret(secret)
        token = await self._store.get(access_records.TOKEN, parsed.token_id, Token) if parsed else None
        end = token.end_of(parsed.digest) if parsed and token else None
        if token is None or end is None:
            raise Unauthorized("this invite is not valid here")
        if token.kind is not TokenKind.INVITE:
            raise Unauthorized("this token is not an invite: sign in with it")
        self._use_invite(token)  # before anything is reserved
        if end.has_passed(self._now_ms()):
            raise InviteUsed("the secret of this invite was replaced: ask for the new link")
        return token

    def _use_invite(self, invite: Token) -> Token:
        if invite.revoked_ms is not None:
            raise InviteUsed("this invite was revoked: ask for another")
        if not invite.is_live(self._now_ms()):
            raise InviteUsed("this invite has expired: ask for another")
        if not invite.uses_left:
            raise InviteUsed("this invite was used already: ask for another")
        return replace(invite, uses_left=invite.uses_left - 1)


def _require_owner(by: Identity, token_id: str) -> None:
    """Raise `Forbidden` unless the token is that of `by`, or `by` is an administrator."""
    if by.token_id != token_id:
        require(by, Right.ADMIN, None)


def _check_name(name: str) -> str:
    """Return the name that a token may have. Raise `BadName`, or `NameTaken` for the name of those who give none."""
    name = check_sender(name)
    if is_anonymous(name) or not all(skeletons(name)):  # a name of nothing but marks would look like any other
        raise NameTaken(name)
    return name


def _check_hook(grants: Sequence[Grant]) -> None:
    """Raise `BadRequest` unless the grants are those of a hook."""
    if len(grants) != 1 or grants[0].rights != (Right.WRITE,) or grants[0].rooms.endswith("*"):
        raise BadRequest("a hook has one grant: the right 'write' on one room")


def _check_signing_secret(kind: TokenKind, secret: str | None) -> None:
    if secret is None:
        return
    if kind is not TokenKind.HOOK:
        raise BadRequest("only a hook has a signing secret")
    if not 1 <= len(secret) <= MAX_SIGNING_CHARS or not secret.isprintable():
        raise BadRequest(f"a signing secret is 1 to {MAX_SIGNING_CHARS} printable characters")


def _describe(grants: Sequence[Grant]) -> str:
    return "; ".join(f"{', '.join(grant.rights)} on {grant.rooms}" for grant in grants) or "no rights"


def _no_such_token(token_id: str) -> NotFound:
    return NotFound(f"there is no token {token_id[:80]!r}")
