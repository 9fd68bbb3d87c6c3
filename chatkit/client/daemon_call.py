"""`call_in_daemon`: a blocking call in a thread that keeps neither its caller nor the process from ending."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

ValueT = TypeVar("ValueT")


async def call_in_daemon(call: Callable[[], ValueT], interrupt: Callable[[], None] | None = None) -> ValueT:
    """Run a call in a thread of its own and return its value.

    If this is cancelled, `interrupt` is called, and the end of the thread is not waited for. Unlike with
    `asyncio.to_thread`, neither `asyncio.run` nor the interpreter waits for it: a name may be looked up for a minute.
    """
    outcome: Future[ValueT] = Future()
    threading.Thread(target=_run, args=(call, outcome), name="chatkit-call", daemon=True).start()
    try:
        return await asyncio.wrap_future(outcome)
    except asyncio.CancelledError:
        if interrupt is not None:
            interrupt()
        raise


def _run(call: Callable[[], ValueT], outcome: Future[ValueT]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001 - it is raised where the value is awaited
        outcome.set_exception(error)
    else:
        outcome.set_result(value)
