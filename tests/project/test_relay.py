"""The relay that stands for a broken cable: what it drops is closed, what it cuts is silent, and nothing stays open."""

import socket
from contextlib import ExitStack

import pytest

from chatkit.pytest_plugin.relay import Relay


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


def test_connections_that_are_cut_are_silent_and_new_ones_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as sockets:
        relay = Relay(server.getsockname()[1])
        with relay.running():

            def connect() -> tuple[socket.socket, socket.socket]:
                client = sockets.enter_context(socket.create_connection(("127.0.0.1", relay.port), timeout=20))
                return client, sockets.enter_context(server.accept()[0])

            old, served_old = connect()
            old.sendall(b"before")
            assert served_old.recv(100) == b"before"
            relay.cut()
            old.sendall(b"lost")
            new, served_new = connect()
            new.sendall(b"after")
            assert served_new.recv(100) == b"after"
            served_new.sendall(b"back")
            assert new.recv(100) == b"back"
            relay.drop()
            assert is_closed(old)
            assert is_closed(new)
            served_old.settimeout(20)
            assert is_closed(served_old)  # it never received what was sent after the cut
            again, served_again = connect()
            again.sendall(b"again")
            assert served_again.recv(100) == b"again"
