"""Who sends a request or opens a connection: by a token, the page's cookie, a trusted proxy, or a name that was chosen.

A token that is not valid is refused. It never makes its sender a guest, who would have other rights than intended.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Self
from urllib.parse import parse_qsl

import msgspec
from litestar.types.asgi_types import HTTPScope, WebSocketScope

from chatkit.core.access import Credential, Identity
from chatkit.core.access_table import INVALID, NEEDS_TOKEN, AccessTable
from chatkit.core.administration import NewToken
from chatkit.core.hub import Hub
from chatkit.core.model import ANONYMOUS
from chatkit.core.token import TokenKind
from chatkit.errors import Banned, ChatkitError, Unauthorized
from chatkit.server.client_address import MAX_HOPS, TrustedProxies, is_address, is_loopback_address, parse_networks
from chatkit.server.session_cookie import SessionCookie, is_equal
from chatkit.server.settings import Settings
from chatkit.server.token_attempts import TokenAttempts

MAX_TOKEN_CHARS: Final = 4_096  # far longer than any real token; a longer one is refused without a comparison

PROXY_HEADERS: Final = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)

ONLY_THIS_MACHINE: Final = (
    "without tokens, this server is open to programs on its own machine only: make a token with 'chatkit token add'"
)
ONLY_A_HOOK: Final = "this token is valid in the address of its webhook only: /hooks/TOKEN"
NOT_A_HOOK: Final = "this is not the address of a webhook: make one with 'chatkit token add NAME --hook ROOM'"
SESSION_ENDED: Final = "the session of this page has ended: sign in again"


class Credentials(msgspec.Struct, frozen=True):
    """What a request says about its sender; None for what it does not say.

    `name` is the name that a guest chose, `proxy_names` are the values of the header that a trusted proxy sets, and
    `is_forwarded` is true if any proxy has left a trace.
    """

    token: str | None
    cookie: str | None
    name: str | None
    forwarded_for: str | None
    proxy_names: tuple[str, ...]
    peer: str
    is_forwarded: bool = False

    @classmethod
    def read(cls, scope: HTTPScope | WebSocketScope, trust_header: bytes | None) -> Self:
        """Read the headers and the query of a request."""
        client = scope.get("client")
        query = read_query(scope["query_string"].decode(errors="replace"))
        return cls.of(scope["headers"], query, client[0] if client else "", trust_header)

    @classmethod
    def of(
        cls,
        headers: Iterable[tuple[bytes, bytes]],
        query: Mapping[str, str],
        peer: str,
        trust_header: bytes | None,
    ) -> Self:
        """Read the parts of a request; `query` is that of `read_query`."""
        headers = list(headers)
        last = dict(headers)
        forwarded_for: str | None = None
        if b"x-forwarded-for" in last:  # a proxy may add a line instead of extending the one it got
            forwarded_for = ", ".join(_values(headers, b"x-forwarded-for"))
        proxy_names: tuple[str, ...] = ()
        if trust_header in last:
            proxy_names = tuple(value.decode(errors="replace") for name, value in headers if name == trust_header)
        cookie = last.get(b"cookie")
        return cls(
            bearer(last.get(b"authorization", b"").decode("latin-1")) or query.get("token"),
            None if cookie is None else cookie.decode("latin-1"),
            query.get("name"),
            forwarded_for,
            proxy_names,
            peer,
            not PROXY_HEADERS.isdisjoint(last),
        )

    @property
    def is_local(self) -> bool:
        """Whether a program on this machine sends the request, and no proxy forwarded it."""
        return not self.is_forwarded and (self.peer == "" or is_loopback_address(self.peer))


def read_query(query: str) -> dict[str, str]:
    """Return the parameters of a query, with their last values."""
    return dict(parse_qsl(query, keep_blank_values=True)) if query else {}


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]


def bearer(authorization: str | None) -> str | None:
    """Return the token of an `Authorization` header, or None if it holds no bearer token."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def access_table(settings: Settings) -> AccessTable:
    """Return the table of access of a server, without the records of its store."""
    return AccessTable(open_grants=settings.open_grants, is_loopback=settings.is_open)


class Authenticator:
    """Finds the identity of each request, by the access of a hub and the settings of the server."""

    def __init__(self, settings: Settings, hub: Hub, attempts: TokenAttempts | None = None) -> None:
        self.cookie = SessionCookie(settings.secret, settings.path_prefix)
        self.proxies = TrustedProxies(parse_networks(settings.trust_proxies))
        self._secret = settings.secret
        self._trust_header = None if settings.trust_header is None else settings.trust_header.lower().encode()
        self._hub = hub
        self._access = hub.access
        self._attempts = attempts or TokenAttempts()

    def read(self, scope: HTTPScope | WebSocketScope) -> Credentials:
        """Read what a request says about its sender."""
        return Credentials.read(scope, self._trust_header)

    def read_parts(self, headers: Iterable[tuple[bytes, bytes]], query: Mapping[str, str], peer: str) -> Credentials:
        """Read the same from the parts of a request; see `Credentials.of`."""
        return Credentials.of(headers, query, peer, self._trust_header)

    def address(self, credentials: Credentials) -> str:
        """Return the address of the client, also behind trusted proxies."""
        return self.proxies.client_address(credentials.peer, credentials.forwarded_for)

    def identify(self, credentials: Credentials) -> Identity:
        """Return who sends a request.

        Raise `Unauthorized` if a token is missing or not valid, `TooManyAttempts`, `Banned`, `NameTaken` or `BadName`.
        """
        address = self.address(credentials)
        if self._access.is_open and self._is_from_outside(credentials):
            raise Unauthorized(ONLY_THIS_MACHINE)
        if credentials.token:
            return self.by_token(credentials.token, credentials.name, address)
        if credentials.cookie and (identity := self._by_cookie(credentials.cookie, credentials.name, address)):
            return identity
        if credentials.proxy_names and self.proxies.trusts(credentials.peer):
            return self._by_proxy(credentials.proxy_names, address)
        if not self._access.guest_grants:
            raise Unauthorized(NEEDS_TOKEN)
        return self._access.guest(credentials.name or ANONYMOUS, address, self._hub.now_ms())

    def _is_from_outside(self, credentials: Credentials) -> bool:
        """Return whether the request comes from another machine, or a proxy forwards it without saying otherwise."""
        hops = (credentials.forwarded_for or "").rsplit(",", MAX_HOPS) if credentials.is_forwarded else []
        is_peer_outside = is_address(credentials.peer) and not self.proxies.trusts(credentials.peer)
        return is_peer_outside or not all(is_loopback_address(hop.strip()) for hop in hops)

    def by_token(self, token: str, name: str | None, address: str) -> Identity:
        """Return who uses a token or the server's secret. Raise as `identify` does.

        The token of a webhook is refused: it is in URLs, and its webhook may ask for signatures, which this does not.
        Without any token in the store and without a secret, no token is checked: the server is open to this machine.
        """
        if self._access.is_open:
            return self._access.guest(name or ANONYMOUS, address, self._hub.now_ms())
        identity = self._by_any_token(token, name, address)
        if self._is_of_hook(identity):
            raise Unauthorized(ONLY_A_HOOK)
        return identity

    def _by_any_token(self, token: str, name: str | None, address: str) -> Identity:
        found: Identity | None = None
        error: ChatkitError = Unauthorized(INVALID)

        def is_right() -> bool:
            nonlocal found, error
            try:
                found = self._authenticate(token, name, address)
            except Unauthorized as refused:
                error = refused
            except ChatkitError as refused:  # of the right token
                error = refused
                return True
            return found is not None

        is_right_one = self._attempts.check(address, is_right)
        if found is not None:
            return found
        if not is_right_one or isinstance(error, Banned):
            self._record_refusal(address, error)
        raise error

    def by_hook(self, token: str, address: str) -> Identity:
        """Return whose webhook a token is, which is a part of the webhook's URL. Raise as `by_token` does.

        Raise `Unauthorized` for every other token, and for the server's secret: a URL is kept in more places than these
        should be.
        """
        if self._access.is_open:  # then there is no token
            raise Unauthorized(NOT_A_HOOK)
        identity = self._by_any_token(token, None, address)
        if not self._is_of_hook(identity):
            raise Unauthorized(NOT_A_HOOK)
        return identity

    def _is_of_hook(self, identity: Identity) -> bool:
        found = self._access.token(identity.token_id or "")
        return found is not None and found.kind is TokenKind.HOOK

    def check_proof(self, address: str, is_right: Callable[[], bool], sentence: str) -> None:
        """Raise `Unauthorized` with a sentence unless a proof is right; a wrong one counts as a wrong token."""
        if not self._attempts.check(address, is_right):
            error = Unauthorized(sentence)
            self._record_refusal(address, error)
            raise error

    async def redeem(self, secret: str, name: str, address: str) -> NewToken:
        """Redeem an invite for a token with a name that is free.

        Raise as `Administration.redeem` and `AccessTable.guest` do, and `TooManyAttempts`. With a wrong secret, the
        error does not depend on the name.
        """
        self._attempts.check_blocked(address)
        administration = self._hub.administration
        try:
            await administration.check_invite(secret)
            new = await administration.redeem(secret, self._access.guest(name, address, self._hub.now_ms()))
        except Unauthorized as error:
            self._attempts.add_wrong(address)
            self._record_refusal(address, error)
            raise
        self._attempts.add_right(address)
        return new

    def _authenticate(self, token: str, name: str | None, address: str) -> Identity:
        now_ms = self._hub.now_ms()
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthorized(INVALID)
        if self._secret is not None and is_equal(token, self._secret):
            return self._access.named(name or ANONYMOUS, address, now_ms, Credential.SECRET)
        return self._access.authenticate(token, address, now_ms)

    def _by_cookie(self, header: str, name: str | None, address: str) -> Identity | None:
        """Return who has a session cookie; None without one, or with one of the server's former secret.

        A wrong cookie does not count as a failed attempt: its value is too long to guess, and every page that was open
        before a token was rotated sends a stale one.
        """
        now_ms = self._hub.now_ms()
        is_stale = False
        for value in self.cookie.values_in(header):
            if self.cookie.is_of_secret(value):
                return self._access.named(name or ANONYMOUS, address, now_ms, Credential.SECRET)
            token = self._access.token(value.partition(".")[0])
            if token is None:  # that of another server on this host
                continue
            for digest in filter(None, (token.digest, token.previous_digest)):
                if is_equal(value, self.cookie.token_value(token.id, digest)):
                    return self._access.renew(token.identity(digest, None, address), now_ms)
            is_stale = True
        if is_stale:
            raise Unauthorized(SESSION_ENDED)
        return None

    def _by_proxy(self, names: tuple[str, ...], address: str) -> Identity:
        if len(names) > 1:  # a proxy that passes on what its client sent: who says which of them it set?
            raise Unauthorized("the proxy sent more than one name")
        return self._access.named(names[0], address, self._hub.now_ms(), Credential.PROXY)

    def _record_refusal(self, address: str, error: ChatkitError) -> None:
        with suppress(ChatkitError):  # the server is shutting down
            self._hub.spawn(self._hub.administration.record_refusal(address, str(error)))

    def cookie_value(self, identity: Identity) -> str | None:
        """Return the value of the session cookie for an identity that presented a secret; None for others."""
        match identity.credential:
            case Credential.TOKEN if identity.token_id is not None:
                return self.cookie.token_value(identity.token_id, identity.digest)
            case Credential.SECRET:
                return self.cookie.secret_value
            case _:
                return None
