"""To which addresses webhooks may connect."""

from ipaddress import ip_address

import pytest

from chatkit.errors import BadRequest
from chatkit.webhooks.address import AddressPolicy, check_networks

PUBLIC = [
    "93.184.215.14", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
    "192.0.1.1", "223.255.255.1", "2606:4700::1111", "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",  # IPv4-mapped
    "64:ff9b::8.8.8.8",  # NAT64
]  # fmt: skip
REFUSED = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"],
    "link-local and metadata": ["169.254.169.254", "fe80::1", "fd00:ec2::254"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.8", "192.88.99.1", "198.18.0.1", "203.0.113.1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"],
    "compatible": ["::127.0.0.1", "::8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:80ff:fffe", "2001::1"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8"],
    "ISATAP": ["2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1"],
    "site-local and unassigned": ["fec0::1", "4000::1", "100::1", "2001:db8::1", "3fff::1"],
}  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_of_the_internet_are_allowed(text: str) -> None:
    assert AddressPolicy().allows(ip_address(text))


@pytest.mark.parametrize("text", [text for texts in REFUSED.values() for text in texts])
def test_all_other_addresses_are_refused(text: str) -> None:
    assert not AddressPolicy().allows(ip_address(text))


@pytest.mark.parametrize(
    ("network", "allowed", "refused"),
    [
        ("10.0.0.0/8", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"], ["192.168.1.1", "::1", "2002:a00:1::1"]),
        ("127.0.0.1", ["127.0.0.1"], ["127.0.0.2", "::1"]),
        ("fd00::/8", ["fd12::1"], ["fc00::1", "10.0.0.1"]),
    ],
)
def test_a_network_can_be_allowed(network: str, allowed: list[str], refused: list[str]) -> None:
    policy = AddressPolicy(check_networks([network]))
    assert [text for text in allowed if not policy.allows(ip_address(text))] == []
    assert [text for text in refused if policy.allows(ip_address(text))] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "localhost", "a.localhost"])
def test_the_text_of_an_address_can_show_that_it_is_refused(host: str) -> None:
    assert not AddressPolicy().allows_host(host)
    assert AddressPolicy(["127.0.0.0/8", "::1", "10.0.0.0/8"]).allows_host(host)
    assert AddressPolicy().allows_host("example.org")


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(BadRequest, match="not 'intranet'"):
        check_networks(["10.0.0.0/8", "intranet"])
