"""The networks by which the addresses of clients are counted and banned."""

import pytest

from chatkit.core.ban_list import client_network


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_ipv6_addresses_count_by_network(address: str, network: str) -> None:
    assert client_network(address) == network
