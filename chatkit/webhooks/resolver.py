"""Resolves the names of hosts in threads of its own: a name server that does not answer must delay nothing else.

The threads of the event loop's executor would be used up by a few names that do not resolve, and a server that ends
would wait for them. The threads here are daemons, whose number is bounded.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final, TypeAlias

from chatkit.webhooks.address import Address

MAX_THREADS: Final = 128  # one for each webhook, and some for those whose caller has given up

Resolve: TypeAlias = Callable[[str], Awaitable[list[Address]]]
"""Returns the addresses of a host, in the order in which to try them. Raises `OSError`."""

_threads = threading.BoundedSemaphore(MAX_THREADS)


async def resolve(host: str) -> list[Address]:
    """Return the addresses of a host. Raise `OSError` if it has none, or too many names are being resolved."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Address]] = loop.create_future()
    if not _threads.acquire(blocking=False):
        raise OSError("too many names are being resolved")
    threading.Thread(target=_run, args=(loop, found, host), name="webhook-resolver", daemon=True).start()
    return await found


def _run(loop: asyncio.AbstractEventLoop, found: "asyncio.Future[list[Address]]", host: str) -> None:
    try:
        outcome: list[Address] | OSError = _look_up(host)
    except OSError as error:
        outcome = error
    except (UnicodeError, ValueError) as error:  # the name cannot be written as one of the domain name system
        outcome = OSError(f"not the name of a host: {error}")
    finally:
        _threads.release()
    try:
        loop.call_soon_threadsafe(_settle, found, outcome)
    except RuntimeError:  # the loop was closed: nobody waits any more
        return


def _look_up(host: str) -> list[Address]:
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # Without the zone of a link-local address, which no webhook may use.
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in entries))


def _settle(found: "asyncio.Future[list[Address]]", outcome: list[Address] | OSError) -> None:
    if found.done():  # the caller was cancelled
        return
    if isinstance(outcome, OSError):
        found.set_exception(outcome)
    else:
        found.set_result(outcome)
