"""Relay: a port between clients and a server, whose connections can be dropped, or die silently as with a broken cable.

It carries bytes, and knows nothing of what they mean.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from chatkit.client.loop_thread import LoopThread
from chatkit.pytest_plugin.accepting import accepting

READ_BYTES = 65_536


class Relay:
    """Listens at `url` while it is `running`, in a thread of its own."""

    url = ""
    port = 0

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._loop = LoopThread(self._serving())
        self._tasks: set[asyncio.Task[None] | None] = set()  # one for each connection
        self._era = 0  # the connections of earlier ones are dead

    @contextmanager
    def running(self) -> Iterator[None]:
        """Accept connections until the block ends."""
        try:
            self.port = self._loop.wait(self._loop.submit(self._listening_port))
            self.url = f"http://127.0.0.1:{self.port}"
            yield
        finally:
            self._loop.close()

    def drop(self) -> None:
        """Reset all connections, and return when that is done. New ones work."""
        self._loop.wait(self._loop.submit(self._drop))

    def cut(self) -> None:
        """Let the connections carry nothing from now on, without closing them. New ones work."""
        self._era += 1

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        async with accepting(self._accept) as self._bound_port:
            yield
        await self._drop()

    async def _listening_port(self) -> int:
        return self._bound_port

    async def _drop(self) -> None:
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        writers = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            writers.append(back)
            await asyncio.gather(self._carry(reader, back, self._era), self._carry(there, writer, self._era))
        except (OSError, asyncio.CancelledError):  # the server is away, or the connection is dropped
            pass
        finally:
            for each in writers:
                each.transport.abort()
            await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)
            self._tasks.discard(task)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, era: int) -> None:
        try:
            while data := await source.read(READ_BYTES):
                if era == self._era:
                    target.write(data)
                    await target.drain()
        except ConnectionError:
            pass
        finally:
            if era == self._era:
                target.close()
