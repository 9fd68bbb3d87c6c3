"""Door: takes connections from a listening socket that several processes share, so that all get as many.

Whoever is awake could take every connection; sockets of rooms stay for days, so that would not even out. So a process
that has more than another leaves the next connection to that one, for a moment. It is one queue for all: a process that
is paused keeps nobody waiting, and one that is killed takes no connection with it that it had not taken.

Of a thousand connections, two workers get 500 each, four 250 (measured); if whoever is awake took them, it would be 440
and 560, and 170 to 350.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Final

from chatkit.server.workers.connection_counts import ConnectionCounts

YIELD_S: Final = 0.005  # a process that is well takes what waits in this time; nobody notices that they waited
BEAT_S: Final = 0.1  # how old a count may be of one whose connections only end
REST_S: Final = 1.0  # without file descriptors, trying again at once would only keep the processor busy
FULL: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_logger = logging.getLogger(__name__)


class Acceptor:
    """Open from `open` to `close`. `connect` makes what a connection talks to, `count` says how many there are."""

    def __init__(self, listening: socket.socket, tally: ConnectionCounts) -> None:
        self._listening = listening
        self._tally = tally
        self._entering: set[asyncio.Task[None]] = set()  # taken, and not yet counted as connections
        self._back: asyncio.TimerHandle | None = None  # while this process has stepped back

    def open(self, connect: Callable[[], asyncio.Protocol], count: Callable[[], int]) -> None:
        """Let them in from now on."""
        self._loop = asyncio.get_running_loop()
        self._connect, self._count = connect, count
        self._listening.setblocking(False)  # noqa: FBT003  # its only parameter
        self._beat()
        self._loop.add_reader(self._listening.fileno(), self._knocked)

    async def close(self) -> None:
        """Let nobody in any more; return when whoever was let in is counted as a connection."""
        self._beating.cancel()
        if self._back is not None:
            self._back.cancel()
        self._tally.leave()
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()
        await asyncio.gather(*self._entering)

    def _beat(self) -> None:
        self._tell()
        self._beating = self._loop.call_later(BEAT_S, self._beat)

    def _tell(self) -> None:
        self._tally.write(self._n_connections, time.monotonic_ns())

    @property
    def _n_connections(self) -> int:
        return self._count() + len(self._entering)

    def _knocked(self) -> None:
        fewest = self._tally.fewest_elsewhere(time.monotonic_ns())
        if fewest is not None and self._n_connections > fewest:
            self._step_back(YIELD_S)
        else:
            self._take()

    def _step_back(self, for_s: float) -> None:
        self._loop.remove_reader(self._listening.fileno())
        self._back = self._loop.call_later(for_s, self._return)

    def _return(self) -> None:
        self._back = None
        self._loop.add_reader(self._listening.fileno(), self._knocked)
        self._take()  # who still waits has waited long enough

    def _take(self) -> None:
        try:
            taken, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client is gone
        except OSError as error:
            if error.errno not in FULL:
                raise
            _logger.error("no connection can be taken: %s", error.strerror)  # noqa: TRY400  # a sentence says it all
            self._step_back(REST_S)
            return
        entering = self._loop.create_task(self._enter(taken))
        self._entering.add(entering)
        entering.add_done_callback(self._entering.discard)
        self._tell()

    async def _enter(self, taken: socket.socket) -> None:
        taken.setblocking(False)  # noqa: FBT003  # as above
        try:
            await self._loop.connect_accepted_socket(self._connect, taken)
        except OSError:  # it went as it came
            taken.close()
