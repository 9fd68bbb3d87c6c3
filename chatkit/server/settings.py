"""The settings of the server, with their defaults and checks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import chain
from math import inf
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from chatkit.core.access import Grant
from chatkit.core.loop_guard import DEFAULT_BOT_LIMIT, MAX_BOT_LIMIT
from chatkit.core.model import DEFAULT_LIMITS, Limits
from chatkit.errors import BadRequest

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}  # browsers leave these out of an origin
BURST_S: Final = 10  # after a quiet time, a sender may publish at once what the rate allows in this time
MAX_KEEP: Final = (1 << 63) - 1  # the largest number that a store holds
# The first part of each path that the server uses.
OWN_PATHS: Final = frozenset((
    "bans", "client.js", "consumers", "health", "hooks", "invites", "mcp", "me", "mentions", "metrics", "rooms",
    "schema", "search", "session", "static", "tokens", "unread", "webhooks", "ws",
))  # fmt: skip
MAX_PREFIX: Final = 200  # characters; the prefix is part of a cookie's name
MAX_RATE_BYTES: Final = 1 << 20  # bytes per second of one sender: allows a large paste, but not a flood

_Check: TypeAlias = tuple[bool, str]
"""Whether a value is invalid, and the sentence that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs. Times are in seconds, rates per second; a `rate_limit` of 0 turns the rate limits off.

    `open_grants` are the rights of everybody without a token. `local_rate_limit` is that of programs on this machine;
    None stands for `rate_limit`. `bot_limit` is the number of messages of bots that take turns that a room accepts;
    0 is no limit. `trust_proxies` are the networks of proxies, and `trust_header` is the header in which
    they name a person. `webhook_allow` are the networks to which webhooks may connect beside the internet.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    backend: str = "sqlite://"
    workers: int = 1
    history: int = 10
    keep: int | None = None
    keep_for_s: float | None = None
    open_grants: tuple[Grant, ...] = ()
    secret: str | None = None
    rate_limit: float = 100
    local_rate_limit: float | None = None
    bot_limit: int = DEFAULT_BOT_LIMIT
    max_connections: int = 10_000
    origins: tuple[str, ...] = ()
    trust_proxies: tuple[str, ...] = ()
    trust_header: str | None = None
    webhook_allow: tuple[str, ...] = ()
    page: Path | None = None
    path_prefix: str = ""
    log_level: LogLevel = "warning"
    log_json: bool = False
    limits: Limits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        """Raise `BadRequest` with a sentence for each invalid value."""
        object.__setattr__(self, "path_prefix", self.path_prefix.rstrip("/"))  # the class is frozen
        checks = chain(self._check_numbers(), self._check_access(), self._check_page())
        if wrong := [sentence for is_wrong, sentence in checks if is_wrong]:
            raise BadRequest("; ".join(wrong))

    def _check_numbers(self) -> Iterator[_Check]:
        yield not 0 <= self.port <= 65_535, "port must be 0 to 65535"
        yield self.workers < 1, "workers must be at least 1"
        yield not 0 <= self.history <= self.limits.history, f"history must be 0 to {self.limits.history}"
        yield self.keep is not None and self.keep < 1, "keep must be at least 1"
        yield self.keep is not None and self.keep > MAX_KEEP, f"keep must be at most {MAX_KEEP}"
        yield self.keep_for_s is not None and self.keep_for_s <= 0, "keep-for must be longer than 0 seconds"
        yield not self.rate_limit >= 0, "rate-limit must be at least 0"  # `not >=`: NaN fails every comparison
        # JSON, in which clients get the rate, has no infinity.
        yield self.rate_limit == inf, "rate-limit must be finite; for no limit, use 0"
        yield not 0 <= self.bot_limit <= MAX_BOT_LIMIT, f"bot-limit must be 0 to {MAX_BOT_LIMIT}"
        yield self.max_connections < self.workers, _too_few_connections(self.workers)
        yield self.log_level not in LOG_LEVELS, f"log-level must be one of {', '.join(LOG_LEVELS)}"

    def _check_access(self) -> Iterator[_Check]:
        yield (
            self.secret is not None and not _is_secret(self.secret),
            "the secret must have at least 8 characters: ASCII, no spaces at the ends, no escapes such as %41",
        )
        for origin in self.origins:
            yield not _is_origin(origin), f"an origin must look like https://chat.example, not {origin!r}"
        for text in self.trust_proxies:
            yield not _is_network(text), f"trust-proxy must be an IP address or network, not {text!r}"
        for text in self.webhook_allow:
            yield not _is_network(text), f"webhook-allow must be an IP address or network, not {text!r}"
        if self.trust_header is not None:
            yield (
                not _is_header(self.trust_header),
                f"trust-header must be the name of a header, such as Remote-User, not {self.trust_header!r}",
            )
            yield not self.trust_proxies, "trust-header needs --trust-proxy: anybody else could send that header too"

    def _check_page(self) -> Iterator[_Check]:
        prefix = self.path_prefix
        yield not _is_prefix(prefix), f"path-prefix must look like /chat, not {prefix!r}"
        yield (
            not OWN_PATHS.isdisjoint(prefix.split("/")[1:2]),
            f"path-prefix must not be {prefix!r}: the server uses that path itself",
        )
        yield (
            self.page is not None and not (self.page / "index.html").is_file(),
            f"page must be a folder with an index.html, and {self.page} has none",
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def has_access_log(self) -> bool:
        """Whether requests and WebSockets are logged."""
        return self.log_level in {"debug", "info"}

    @property
    def is_open(self) -> bool:
        """Whether everybody who can connect may do everything, as long as the store holds no token.

        Not if the operator has said who may do what, nor if a proxy lets others connect from this machine.
        """
        is_configured = self.secret is not None or self.open_grants or self.trust_proxies
        return self.is_loopback and not is_configured

    @property
    def max_connections_each(self) -> int:
        """The most connections of one worker. Connections are spread evenly over the workers."""
        return self.max_connections // self.workers

    @property
    def is_wildcard(self) -> bool:
        """Whether the server listens on every address of this machine."""
        return self.host.strip("[]") in {"0.0.0.0", "::"}  # noqa: S104  # compared with, not bound to


def _too_few_connections(workers: int) -> str:
    return "max-connections must be at least 1" + (f" for each worker: {workers}" if workers > 1 else "")


def _is_secret(text: str) -> bool:
    # It has to survive in a header, which loses outer spaces, and in a cookie and a URL, where %41 is read as A.
    return len(text) >= 8 and text.isascii() and text.isprintable() and text == unquote(text.strip())


def _is_network(text: str) -> bool:
    try:
        ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def _is_header(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9-]{1,64}", text) is not None


def _is_prefix(text: str) -> bool:
    """Return whether a path means the same everywhere, without escapes and dots to resolve. Empty means no prefix."""
    is_plain = re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", text) is not None
    return is_plain and len(text) <= MAX_PREFIX and not {".", ".."} & set(text.split("/"))


def _is_origin(text: str) -> bool:
    """Return whether a browser sends this as an origin, except for upper case and a final slash."""
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return False
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    is_plain = text.isascii() and not re.search(r"[*,\s]", host) and parts.port != DEFAULT_PORTS.get(parts.scheme, 0)
    return bool(host) and is_plain and text.lower().removesuffix("/") == f"{parts.scheme}://{host}{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address always means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
