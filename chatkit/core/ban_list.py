"""The bans of a store, found by the token, the name and the address of an identity."""

import ipaddress
from collections import Counter
from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Final, TypeAlias, assert_never

from chatkit.core.access import Ban, BanSubject, Identity
from chatkit.core.names import skeletons
from chatkit.errors import BadRequest

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORK_CHARS: Final = 64  # an IPv6 address in full with its prefix length has 43
IPV6_PREFIX: Final = 64  # one customer gets at least a /64 (RFC 6177): a ban of one address would be evaded by the next
_MAPPED_PREFIX: Final = 96  # of ::ffff:0:0/96, in which IPv6 has the addresses of IPv4
_BITS: Final = {4: 32, 6: 128}
_MAX_FOUND: Final = 10_000  # results that are remembered


def parse_network(text: str) -> Network:
    """Parse an address or network. Raise `BadRequest` for anything else.

    A single IPv6 address stands for its network of 64 bits. An IPv4 address or network within IPv6 stands for itself.
    """
    try:
        if "/" in text[:MAX_NETWORK_CHARS]:
            return _unmapped(ipaddress.ip_network(text[:MAX_NETWORK_CHARS], strict=False))
        return _network_of(_parse_address(text[:MAX_NETWORK_CHARS]))
    except ValueError as error:
        raise BadRequest(f"not an IP address or network: {text[:MAX_NETWORK_CHARS]!r}") from error


def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])  # without the zone of a link-local address
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))


def _network_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Network:
    if isinstance(address, ipaddress.IPv4Address):
        return ipaddress.IPv4Network(address)
    return ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False)


def client_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the IPv6 network that a client has for itself.

    Text that is not an address stands for itself, cut to `MAX_NETWORK_CHARS`.
    """
    return _client_network(address[:MAX_NETWORK_CHARS])


@lru_cache(maxsize=4096)  # each request asks for it
def _client_network(text: str) -> str:
    try:
        parsed = _parse_address(text)
    except ValueError:
        return text
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    host_bits = _BITS[6] - IPV6_PREFIX
    return str(ipaddress.IPv6Address(int(parsed) >> host_bits << host_bits))


def address_number(text: str) -> tuple[int, int] | None:
    """Return the IP version and number of an address, or None if the text is not an address."""
    return _number_of(text[:MAX_NETWORK_CHARS])


@lru_cache(maxsize=4096)  # connections of one address share the result
def _number_of(text: str) -> tuple[int, int] | None:
    try:
        address = _parse_address(text)
    except ValueError:
        return None
    return address.version, int(address)


class BanList:
    """A set of bans. To find those on an identity costs a few look-ups, however many there are."""

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._bans: dict[Hashable, list[Ban]] = {}  # by each of their keys
        self._prefixes: Counter[tuple[int, int]] = Counter()  # IP version and prefix length of the banned networks
        self._found: dict[tuple[str | None, str, str], tuple[Ban, ...]] = {}  # results of `on`, until the next change
        for ban in bans:
            self.add(ban)

    def add(self, ban: Ban) -> None:
        """Add a ban."""
        self._found.clear()
        for key in _keys(ban):
            self._bans.setdefault(key, []).append(ban)
        if ban.kind is BanSubject.NETWORK:
            network = parse_network(ban.subject)
            self._prefixes[network.version, network.prefixlen] += 1

    def discard(self, ban: Ban) -> None:
        """Remove a ban that was added."""
        self._found.clear()
        for key in _keys(ban):
            self._bans[key].remove(ban)
            if not self._bans[key]:
                del self._bans[key]
        if ban.kind is BanSubject.NETWORK:
            network = parse_network(ban.subject)
            self._prefixes -= Counter([(network.version, network.prefixlen)])

    def on(self, identity: Identity) -> tuple[Ban, ...]:
        """Return the bans that concern an identity, also those that have ended."""
        if not self._bans:
            return ()
        who = (identity.token_id, identity.name, identity.address)
        found = self._found.get(who)
        if found is None:
            if len(self._found) >= _MAX_FOUND:
                self._found.clear()
            found = self._found[who] = self._find(identity)
        return found

    def _find(self, identity: Identity) -> tuple[Ban, ...]:
        keys: list[Hashable] = [(BanSubject.TOKEN, identity.token_id)]
        keys += [(BanSubject.NAME, look) for look in skeletons(identity.name)]
        keys += self._network_keys(identity.address)
        return tuple({ban.id: ban for key in keys for ban in self._bans.get(key, ())}.values())

    def _network_keys(self, text: str) -> list[Hashable]:
        address = address_number(text)
        if address is None:
            return []
        version, number = address
        bits = _BITS[version]
        shifts = [(prefix, bits - prefix) for of_version, prefix in self._prefixes if of_version == version]
        return [(version, prefix, number >> shift << shift) for prefix, shift in shifts]


def _keys(ban: Ban) -> list[Hashable]:
    match ban.kind:
        case BanSubject.TOKEN:
            return [(ban.kind, ban.subject)]
        case BanSubject.NAME:
            return [(ban.kind, look) for look in skeletons(ban.subject)]
        case BanSubject.NETWORK:
            network = parse_network(ban.subject)
            return [(network.version, network.prefixlen, int(network.network_address))]
        case _:
            assert_never(ban.kind)
