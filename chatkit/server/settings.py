"""Every option of the server, with its default, checked as a whole."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from chatkit.core.model import DEFAULT_LIMITS, Limits
from chatkit.errors import BadRequest

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]

LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
DEFAULT_PORTS: Final = {"http": 80, "https": 443}  # which browsers leave out
BURST_S: Final = 10  # a sender may be quiet and then say at once what the rate allows in this time
MAX_KEEP: Final = (1 << 63) - 1  # what a store's numbers hold
OWN_PATHS: Final = frozenset({"health", "metrics", "mcp", "rooms", "schema", "static", "ws"})  # the first part of each
MAX_PREFIX: Final = 200  # characters, as it is part of the name of a cookie
MAX_RATE_BYTES: Final = 1 << 20  # bytes a second of one sender: a paste passes, a flood does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs. Times are seconds, rates are a second's; a `rate_limit` of 0 turns the limits on rates off."""

    host: str = "127.0.0.1"
    port: int = 8000
    backend: str = "sqlite://"
    workers: int = 1
    history: int = 10
    keep: int | None = None
    keep_for_s: float | None = None
    open: bool = False
    secret: str | None = None
    rate_limit: float = 100
    max_connections: int = 10_000
    origins: tuple[str, ...] = ()
    page: Path | None = None
    path_prefix: str = ""
    log_level: LogLevel = "warning"
    log_json: bool = False
    limits: Limits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        """Raise `BadRequest` for a value that cannot be."""
        object.__setattr__(self, "path_prefix", self.path_prefix.rstrip("/"))  # frozen for everybody else
        wrong = [
            sentence
            for is_wrong, sentence in (
                (not 0 <= self.port <= 65_535, "a port is 0 to 65535"),
                (self.workers < 1, "workers is at least 1"),
                (not 0 <= self.history <= self.limits.history, f"history is 0 to {self.limits.history}"),
                (self.keep is not None and self.keep < 1, "keep is at least 1"),
                (self.keep is not None and self.keep > MAX_KEEP, f"keep is at most {MAX_KEEP}"),
                (self.keep_for_s is not None and self.keep_for_s <= 0, "keep-for is longer than nothing"),
                (not self.rate_limit >= 0, "rate-limit is at least 0"),  # what is no number is not
                (self.rate_limit == inf, "a rate-limit of 0 is no limit"),  # clients are told it in JSON
                (self.max_connections < self.workers, _too_few_connections(self.workers)),
                (self.log_level not in LOG_LEVELS, f"log-level is one of {', '.join(LOG_LEVELS)}"),
                (
                    self.secret is not None and not _is_secret(self.secret),
                    "a secret has at least 8 characters, all ASCII, no space at its ends, and no %41 or the like",
                ),
                *(
                    (not _is_origin(origin), f"an origin is like https://chat.example, not {origin!r}")
                    for origin in self.origins
                ),
                (not _is_prefix(self.path_prefix), f"a path-prefix is like /chat, not {self.path_prefix!r}"),
                (
                    self.path_prefix.split("/")[1:2] != [] and self.path_prefix.split("/")[1] in OWN_PATHS,
                    f"the path-prefix {self.path_prefix!r} is an address of the server's own",
                ),
                (self.page is not None and not (self.page / "index.html").is_file(), f"no index.html in {self.page}"),
            )
            if is_wrong
        ]
        if wrong:
            raise BadRequest("; ".join(wrong))

    @property
    def is_loopback(self) -> bool:
        """Say whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def max_connections_each(self) -> int:
        """How many connections one worker takes: connections are spread evenly, and so is what is allowed."""
        return self.max_connections // self.workers

    @property
    def is_wildcard(self) -> bool:
        """Say whether the server listens on every address of this machine."""
        return self.host.strip("[]") in {"0.0.0.0", "::"}  # noqa: S104  # compared with, not bound to


def _too_few_connections(workers: int) -> str:
    return "max-connections is at least 1" + (f" a worker: {workers}" if workers > 1 else "")


def _is_secret(text: str) -> bool:
    # It has to pass as a header, where spaces around it go, as a cookie, where %41 is read as A, and in an address.
    return len(text) >= 8 and text.isascii() and text.isprintable() and text == unquote(text.strip())


def _is_prefix(text: str) -> bool:
    """Return whether a path needs no escape in an address and no dots are resolved in it; empty is no prefix."""
    is_plain = re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", text) is not None
    return is_plain and len(text) <= MAX_PREFIX and not {".", ".."} & set(text.split("/"))


def _is_origin(text: str) -> bool:
    """Say whether a browser sends this as an origin, but for upper case and a slash: another would let nobody in."""
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
    """Say whether a host's name or address is this machine and no other."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
