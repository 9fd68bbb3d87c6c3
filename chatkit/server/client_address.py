"""The address of a client, also where a proxy on this machine forwards its requests."""

from ipaddress import ip_address


def client_address(peer: str, forwarded_for: str | None) -> str:
    """Return the address that a request comes from.

    A proxy on this machine appends its client's address to `X-Forwarded-For`. From any other peer, the header is not
    trusted, because the client may have written it. An empty `peer` is a Unix socket, which only this machine reaches.
    """
    if not forwarded_for or not (peer == "" or _is_loopback(peer)):
        return peer
    last = forwarded_for.rpartition(",")[2].strip()
    return last if is_address(last) else peer


def _is_loopback(address: str) -> bool:
    return is_address(address) and ip_address(address).is_loopback


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
