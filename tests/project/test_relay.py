"""The relay that stands for a broken cable in other tests leaves nothing open."""

import socket
from contextlib import ExitStack

import pytest
from relay import Relay


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("is_served", [True, False], ids=["served", "the server is away"])
def test_connections_that_are_accepted_while_it_ends_are_closed(is_served: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as clients:
        relay = Relay(server.getsockname()[1])
        if not is_served:
            server.close()
        with relay.running():
            where = ("127.0.0.1", relay.port)
            opened = [clients.enter_context(socket.create_connection(where, timeout=20)) for _ in range(50)]
        assert all(map(is_closed, opened))
