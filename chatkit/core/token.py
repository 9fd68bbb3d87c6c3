"""Tokens: a name with rights, and the secret that proves it. The secret itself is never kept, only its SHA-256."""

import hashlib
import hmac
import re
import secrets
import string
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from chatkit.core.access import Credential, Grant, Identity

ID_ALPHABET: Final = string.ascii_lowercase + string.digits
ID_CHARS: Final = 10  # 51 bits: two of 10,000 ids are equal with a probability of 1 in 50 million
SECRET_BYTES: Final = 32
SECRET: Final = re.compile(r"(?P<shown>ck_(?P<id>[a-z0-9]{8,12})_)[A-Za-z0-9_-]{43}")  # the rest must not be shown
MAX_SIGNING_CHARS: Final = 1_024  # of a signing secret, which another service may have chosen
MAX_SECRET_CHARS: Final = len("ck_") + 12 + len("_") + 43


class TokenKind(StrEnum):
    """What a token is for. A `hook` may be a part of a URL, and an `invite` is only good for being redeemed."""

    PERSON = "person"
    BOT = "bot"
    HOOK = "hook"
    INVITE = "invite"


class Token(msgspec.Struct, frozen=True, gc=False):
    """A token, as a record keeps it. Times are Unix milliseconds.

    `digest` is the SHA-256 of the secret in hex. After a rotation, the secret before it (`previous_digest`) is valid
    until `previous_until_ms`. `uses_left` counts how often an invite can still be redeemed; it is None for others.
    With `signing_secret`, a hook only accepts requests that prove it; it is kept as it is, because it is computed with.
    """

    id: str
    name: str
    kind: TokenKind
    grants: tuple[Grant, ...]
    digest: str
    created_ms: int
    made_by: str
    expires_ms: int | None = None
    uses_left: int | None = None
    last_used_ms: int | None = None
    revoked_ms: int | None = None
    previous_digest: str | None = None
    previous_until_ms: int | None = None
    signing_secret: str | None = None

    def __repr__(self) -> str:
        return f"Token({self.id!r})"  # a log or traceback must not hold the signing secret

    @property
    def is_bot(self) -> bool:
        """Whether a program speaks with this token."""
        return self.kind in {TokenKind.BOT, TokenKind.HOOK}

    def is_live(self, now_ms: int) -> bool:
        """Return whether the token was neither revoked nor has expired."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)

    def end_of(self, digest: str) -> "SecretEnd | None":
        """Return when the secret with a digest ends, or None if it never was, or no longer is, one of the token's."""
        # In constant time, so that the time of an answer reveals no digest.
        if hmac.compare_digest(digest, self.digest):
            return SecretEnd(self.expires_ms)
        if self.previous_digest is None or not hmac.compare_digest(digest, self.previous_digest):
            return None
        ends = [end for end in (self.previous_until_ms, self.expires_ms) if end is not None]
        return SecretEnd(min(ends, default=0))

    def identity(self, digest: str, expires_ms: int | None, address: str) -> Identity:
        """Return who speaks with this token from an address."""
        return Identity(
            self.name,
            is_verified=True,
            is_bot=self.is_bot,
            token_id=self.id,
            grants=self.grants,
            address=address,
            credential=Credential.TOKEN,
            digest=digest,
            expires_ms=expires_ms,
        )


class SecretEnd(NamedTuple):
    """When a secret ends, as Unix milliseconds, or None if it does not."""

    expires_ms: int | None

    def has_passed(self, now_ms: int) -> bool:
        """Return whether the secret is not valid any more."""
        return self.expires_ms is not None and now_ms >= self.expires_ms


class Secret(NamedTuple):
    """A secret that was parsed: the id of its token, and its digest."""

    token_id: str
    digest: str


def new_token_id() -> str:
    """Return a random id for a token or a ban."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_CHARS))


def new_secret(token_id: str) -> str:
    """Return a random secret for a token: `ck_<id>_<secret>`."""
    return f"ck_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def mask_secrets(text: str) -> str:
    """Return the text with the secrets of tokens masked: only their ids are left."""
    return SECRET.sub(r"\g<shown>…", text)


def digest_of(secret: str) -> str:
    """Return the digest under which a secret is known: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse_secret(text: str) -> Secret | None:
    """Parse the text of a secret; return None for anything else, in a time that does not grow with its length."""
    if len(text) > MAX_SECRET_CHARS:
        return None
    match = SECRET.fullmatch(text)
    return None if match is None else Secret(match["id"], digest_of(text))
