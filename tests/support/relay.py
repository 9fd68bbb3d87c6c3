"""A relay between client and server whose connections can die silently, as with a broken cable."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from accepting import accepting
from serving import free_port


class Relay:
    """Listens at `url`. After `cut`, the connections that stand carry nothing and are not closed; new ones work."""

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server_port = server_port
        self._era = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._era += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        self._ready.wait()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._done.set_result, None)
            thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._done = self._loop.create_future()
        async with accepting(self._accept, self.port):
            self._ready.set()
            await self._done
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            writers.append(back)
            await asyncio.gather(self._carry(reader, back, self._era), self._carry(there, writer, self._era))
        except (OSError, asyncio.CancelledError):  # the server is away, or the relay ends
            pass
        finally:
            for each in writers:
                each.transport.abort()
            await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)
            self._tasks.discard(task)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, era: int) -> None:
        try:
            while data := await source.read(65_536):
                if era == self._era:
                    target.write(data)
        except ConnectionError:
            pass
        finally:
            if era == self._era:
                target.close()
