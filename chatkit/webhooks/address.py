"""AddressPolicy: to which IP addresses a webhook may connect. Pure: resolves no name and opens no socket.

The person who makes a webhook chooses where the server connects. Without this rule, they could reach what only the
server can reach: services of its own machine and network, and the metadata service of a cloud.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from chatkit.errors import BadRequest

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# `is_global` of Python follows the registries of IANA, and differs between its versions: these are refused by all.
_REFUSED: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            "100.64.0.0/10",  # shared address space of providers (RFC 6598)
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "192.88.99.0/24",  # relays of 6to4, withdrawn (RFC 7526)
            "198.18.0.0/15",  # benchmarks (RFC 2544)
            "2001::/23",  # protocol assignments with Teredo, in which an IPv4 address is hidden (RFC 4380)
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, in which an IPv4 address is embedded (RFC 3056)
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
_UNICAST: Final = IPv6Network("2000::/3")  # all global unicast addresses that are assigned
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: of networks that have only IPv6
_ISATAP: Final = 0x5EFE  # the third and fourth last groups but their first bit hold it (RFC 5214)


class AddressPolicy:
    """Allows the addresses of the internet, and those in the networks `allowed`, or raises `ValueError` for these."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = [ip_network(text.strip(), strict=False) for text in allowed]

    def allows(self, address: Address) -> bool:
        """Return whether a webhook may connect to an address."""
        return any(each in network for each in _forms(address) for network in self._allowed) or _is_public(address)

    def allows_host(self, host: str) -> bool:
        """Return whether a host may be connected to, as far as its name tells: a name is only known once resolved."""
        try:
            return self.allows(ip_address(host.strip("[]")))
        except ValueError:
            return not (host == "localhost" or host.endswith(".localhost")) or self.allows(IPv4Address("127.0.0.1"))


def check_networks(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the texts of IP addresses and networks. Raise `BadRequest` for another text."""
    checked = tuple(texts)
    for text in checked:
        try:
            ip_network(text.strip(), strict=False)
        except ValueError as error:
            raise BadRequest(f"webhook-allow must be an IP address or network, not {text[:80]!r}") from error
    return checked


def _is_public(address: Address) -> bool:
    inner = _embedded(address)
    if inner is not None:
        return _is_public(inner)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if any(address in network for network in _REFUSED):
        return False
    return isinstance(address, IPv4Address) or (address in _UNICAST and not _is_isatap(address))


def _forms(address: Address) -> Iterator[Address]:
    """Iterate over an address and the one that is embedded in it, to which packets go."""
    yield address
    inner = _embedded(address)
    if inner is not None:
        yield inner


def _embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that a mapped or translated IPv6 address stands for."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFDFF_FFFF == _ISATAP
