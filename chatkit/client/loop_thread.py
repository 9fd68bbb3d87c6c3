"""LoopThread: an event loop in a thread of its own, for callers that have none. Knows nothing of rooms."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, ParamSpec, TypeVar

from chatkit.errors import Unavailable

Params = ParamSpec("Params")
ValueT = TypeVar("ValueT")


class LoopThread:
    """Runs coroutines for any thread. `resource` is entered in the loop when the first runs, and left by `close`.

    The thread is a daemon: it does not keep a program alive.
    """

    def __init__(self, resource: AbstractAsyncContextManager[object]) -> None:
        self._resource = resource
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        # Of the three above: a coroutine is either started before `close` stops the loop, or refused. It is reentrant,
        # because a garbage collection within `submit` may close an iterator, which submits something.
        self._lock = threading.RLock()

    def check_open(self) -> None:
        """Raise `Unavailable` after `close`, and in a process that was forked off: threads stay in the other one."""
        if self._is_closed or (self._thread is not None and not self._thread.is_alive()):
            raise Unavailable("the client was closed")

    def submit(
        self, job: Callable[Params, Coroutine[Any, Any, ValueT]], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> "Future[ValueT]":
        """Start a coroutine and return a future for its result. Coroutines start in the order of the calls."""
        with self._lock:
            self.check_open()
            loop = self._loop or self._start()
            return asyncio.run_coroutine_threadsafe(job(*args, **kwargs), loop)

    def wait(self, future: "Future[ValueT]") -> ValueT:
        """Wait for a result and return it. Raise `Unavailable` if `close` ended it; Ctrl-C cancels it."""
        if threading.current_thread() is self._thread:
            future.cancel()
            raise RuntimeError("a call that waits cannot be made in the thread of the client, such as by a watcher")
        try:
            return future.result()
        except CancelledError:
            raise Unavailable("the client was closed") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[ValueT, None]) -> Generator[ValueT, None, None]:
        """Iterate over what a generator of the loop yields, and close it at the end."""
        try:
            while True:
                yield self.wait(self.submit(next_of, items))
        finally:
            with suppress(Unavailable):
                self.submit(_end, items)  # it starts before any later call

    def close(self) -> None:
        """Cancel all coroutines, leave the resource and end the thread. Closing again does nothing."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
            if self._thread is None or self._loop is None or not self._thread.is_alive():
                return
            if is_first:
                self._loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:  # which is where a garbage collection may call it
            self._thread.join()

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()  # ends the loop
        entered: Future[None] = Future()  # what is submitted starts after that
        self._thread = threading.Thread(target=self._run, args=(loop, entered), name="chatkit-client", daemon=True)
        self._thread.start()
        self._loop = loop  # before the wait, which Ctrl-C may end
        entered.result()
        return loop

    def _run(self, loop: asyncio.AbstractEventLoop, entered: "Future[None]") -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:  # it cancels at the end what still runs
                runner.run(self._stay(entered))
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    async def _stay(self, entered: "Future[None]") -> None:
        async with self._resource:
            entered.set_result(None)
            await self._stop.wait()


async def next_of(items: AsyncIterator[ValueT]) -> ValueT:
    """Return the next item. It is `anext` as a coroutine, which can be run by itself."""
    return await anext(items)


async def _end(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
