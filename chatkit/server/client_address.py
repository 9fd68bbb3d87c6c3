"""The address of a client, also where proxies forward its requests, and which headers of a proxy are believed."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

MAX_HOPS: Final = 16  # proxies in a row that are looked at, from the last one
MAX_CACHED_CHARS: Final = 64  # more than an IPv6 address with a zone has
LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class TrustedProxies:
    """The networks from which `X-Forwarded-For` and `X-Forwarded-Proto` are believed; from no other peer.

    Without `networks`, these are the addresses of this machine: a proxy that runs on it needs no setting.
    """

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self.are_given = bool(networks)
        self._networks = tuple(networks) or LOOPBACK
        self._trusts = lru_cache(maxsize=1024)(self._find)

    def trusts(self, peer: str) -> bool:
        """Return whether headers of this peer are believed. An empty `peer` is a Unix socket of this machine."""
        return self._trusts(peer)

    def _find(self, peer: str) -> bool:
        if peer == "":
            return True
        address = _parse(peer)
        if address is None:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """Return the address that a request comes from.

        Each proxy appends its client's address to `X-Forwarded-For`. So the client is the last address in it that is
        not one of our proxies; everything before that may be made up.
        """
        if not forwarded_for or not self.trusts(peer):
            return peer
        client = peer
        for hop in reversed(forwarded_for.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            if not is_address(hop.strip()) or "%" in hop:  # a zone is any text, and means nothing on another machine
                break
            client = hop.strip()
            if not self.trusts(client):
                break
        return client


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parse addresses and networks, which `Settings` has checked."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts)


def is_loopback_address(address: str) -> bool:
    """Return whether a text is an address of this machine itself."""
    parsed = _parse(address)
    return parsed is not None and parsed.is_loopback


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    return _parse(text) is not None


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    return _parse_short(text) if len(text) <= MAX_CACHED_CHARS else _parse_any(text)


def _parse_any(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


_parse_short = lru_cache(maxsize=1024)(_parse_any)  # most connections of a server come from few addresses, or proxies
