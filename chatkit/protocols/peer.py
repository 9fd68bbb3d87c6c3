"""The address of a client. One that reset its connection has none any more, and must not pass for one on this machine.

Its data may still be read then. An application takes a client without an address for one of a Unix socket.
"""

import asyncio
import socket

from uvicorn.protocols.utils import ClientDisconnected, get_remote_addr


def peer_of(transport: asyncio.Transport) -> tuple[str, int] | None:
    """Return the address of the other end, or None for a Unix socket. Raise `ClientDisconnected` if it has gone."""
    address = get_remote_addr(transport)
    if address is None and is_of_network(transport):
        raise ClientDisconnected
    return address


def is_of_network(transport: asyncio.Transport) -> bool:
    """Return whether a client of this transport has an address as long as it is connected."""
    connected = transport.get_extra_info("socket")
    return connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6)
