"""Acceptor: accepts connections from a listening socket that several processes share, and balances them.

If whichever process is idle accepted each connection, the numbers would differ, and WebSockets stay open for days. So a
process that has more connections than another stops accepting for a moment. All processes share one accept queue: a
paused process delays nobody, and a killed one loses only the connections that it had accepted.

Of a thousand connections, two workers get 500 each and four get 250 each (measured). Without this, two would get 440
and 560, and four between 170 and 350.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Final

from chatkit.server.workers.connection_counts import ConnectionCounts

YIELD_S: Final = 0.005  # enough for another process to accept; too short for clients to notice
PUBLISH_INTERVAL_S: Final = 0.1  # between counts of a process that accepts nothing
RETRY_S: Final = 1.0  # without file descriptors, an immediate retry would only use CPU
EXHAUSTED_ERRORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections between `open` and `close`. `connect` makes a protocol, `count` counts connections."""

    def __init__(self, listening: socket.socket, counts: ConnectionCounts) -> None:
        self._listening = listening
        self._counts = counts
        self._accepting: set[asyncio.Task[None]] = set()  # accepted, and not yet counted as connections
        self._resume_timer: asyncio.TimerHandle | None = None  # set while this process does not accept

    def open(self, connect: Callable[[], asyncio.Protocol], count: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect, self._count = connect, count
        self._listening.setblocking(False)  # noqa: FBT003  # its only parameter
        self._publish_regularly()
        self._loop.add_reader(self._listening.fileno(), self._on_readable)

    async def close(self) -> None:
        """Stop accepting; return when every accepted connection is counted as one."""
        self._publish_timer.cancel()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        self._counts.leave()
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        await asyncio.gather(*self._accepting)

    def _publish_regularly(self) -> None:
        self._publish_count()
        self._publish_timer = self._loop.call_later(PUBLISH_INTERVAL_S, self._publish_regularly)

    def _publish_count(self) -> None:
        self._counts.write(self._n_connections, time.monotonic_ns())

    @property
    def _n_connections(self) -> int:
        return self._count() + len(self._accepting)

    def _on_readable(self) -> None:
        fewest = self._counts.fewest_of_others(time.monotonic_ns())
        if fewest is not None and self._n_connections > fewest:
            self._stop_accepting(YIELD_S)
        else:
            self._accept()

    def _stop_accepting(self, for_s: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._resume_timer = self._loop.call_later(for_s, self._resume_accepting)

    def _resume_accepting(self) -> None:
        self._resume_timer = None
        self._loop.add_reader(self._listening.fileno(), self._on_readable)
        self._accept()  # a connection that still waits has waited long enough

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process accepted it, or the client disconnected
        except OSError as error:
            if error.errno not in EXHAUSTED_ERRORS:
                raise
            _logger.error("no connection can be accepted: %s", error.strerror)  # noqa: TRY400  # the traceback adds nothing
            self._stop_accepting(RETRY_S)
            return
        accepting = self._loop.create_task(self._connect_accepted(accepted))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        self._publish_count()

    async def _connect_accepted(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003  # as above
        try:
            await self._loop.connect_accepted_socket(self._connect, accepted)
        except OSError:  # the client disconnected at once
            accepted.close()
