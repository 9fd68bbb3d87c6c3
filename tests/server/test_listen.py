"""The listening socket."""

import socket

from chatkit.server.listen import RECEIVE_BUFFER_BYTES, listen
from chatkit.server.settings import Settings


def test_the_kernel_keeps_a_bounded_part_of_what_a_client_sends() -> None:
    with (
        listen(Settings(port=0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * RECEIVE_BUFFER_BYTES
