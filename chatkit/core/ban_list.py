"""The bans of a store, found by the token, the name and the address of an identity."""

import ipaddress
from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from chatkit.core.access import Ban, BanSubject, Identity
from chatkit.core.names import skeletons
from chatkit.errors import BadRequest

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORK_CHARS: Final = 64  # an IPv6 address in full with its prefix length has 43
IPV6_PREFIX: Final = 64  # one customer gets at least a /64 (RFC 6177): a ban of one address would be evaded by the next
_MAX_CACHED: Final = 10_000  # identities whose bans are remembered


def parse_network(text: str) -> Network:
    """Parse an address or network. Raise `BadRequest` for anything else.

    A single IPv6 address stands for its network of 64 bits, and an IPv4 address within IPv6 for itself.
    """
    try:
        if "/" in text[:MAX_NETWORK_CHARS]:
            return ipaddress.ip_network(text[:MAX_NETWORK_CHARS], strict=False)
        return _network_of(_parse_address(text[:MAX_NETWORK_CHARS]))
    except ValueError as error:
        raise BadRequest(f"not an IP address or network: {text[:MAX_NETWORK_CHARS]!r}") from error


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])  # without the zone of a link-local address
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Network:
    if isinstance(address, ipaddress.IPv4Address):
        return ipaddress.IPv4Network(address)
    return ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False)


def client_network(address: str) -> str:
    """Return the network that one client of an address has for itself, or the text if it is not an address."""
    try:
        return str(_network_of(_parse_address(address[:MAX_NETWORK_CHARS])))
    except ValueError:
        return address[:MAX_NETWORK_CHARS]


def is_in_network(address: str, network: Network) -> bool:
    """Return whether the text is an address in the network; false for a text that is not an address."""
    try:
        return _parse_address(address[:MAX_NETWORK_CHARS]) in network
    except ValueError:
        return False


class BanList:
    """Bans by id. To find those on an identity costs a few look-ups, however many there are."""

    def __init__(self, bans: Mapping[str, Ban] = MappingProxyType({})) -> None:
        self._is_empty = not bans
        self._by_token: defaultdict[str, list[Ban]] = defaultdict(list)
        self._by_look: defaultdict[str, list[Ban]] = defaultdict(list)
        self._by_network: defaultdict[tuple[int, int], dict[int, list[Ban]]] = defaultdict(dict)
        self._cached: dict[tuple[str | None, str, str], tuple[Ban, ...]] = {}
        for ban in bans.values():
            self._index(ban)

    def _index(self, ban: Ban) -> None:
        match ban.kind:
            case BanSubject.TOKEN:
                self._by_token[ban.subject].append(ban)
            case BanSubject.NAME:
                for look in skeletons(ban.subject):
                    self._by_look[look].append(ban)
            case BanSubject.NETWORK:
                network = parse_network(ban.subject)
                addresses = self._by_network[network.version, network.prefixlen]
                addresses.setdefault(int(network.network_address), []).append(ban)

    def on(self, identity: Identity) -> tuple[Ban, ...]:
        """Return the bans that concern an identity, also those that have ended."""
        if self._is_empty:
            return ()
        key = (identity.token_id, identity.name, identity.address)
        found = self._cached.get(key)
        if found is None:
            if len(self._cached) >= _MAX_CACHED:
                self._cached.clear()
            found = self._cached[key] = self._find(identity)
        return found

    def _find(self, identity: Identity) -> tuple[Ban, ...]:
        found = list(self._by_token.get(identity.token_id or "", ()))
        for look in skeletons(identity.name):
            found += self._by_look.get(look, ())
        found += self._in_networks(identity.address)
        return tuple({ban.id: ban for ban in found}.values())

    def _in_networks(self, text: str) -> list[Ban]:
        try:
            address = _parse_address(text[:MAX_NETWORK_CHARS])
        except ValueError:
            return []
        found: list[Ban] = []
        for (version, prefix), networks in self._by_network.items():
            if version == address.version:
                shift = address.max_prefixlen - prefix
                found += networks.get(int(address) >> shift << shift, ())
        return found
