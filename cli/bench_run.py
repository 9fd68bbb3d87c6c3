"""What a load asks of its process: file descriptors, an event loop, and an end that cleans up."""

import asyncio
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from chatkit.errors import BadRequest

if TYPE_CHECKING:
    from chatkit.bench import LoadPlan

ReportT_co = TypeVar("ReportT_co", covariant=True)


class Runnable(Protocol[ReportT_co]):
    """A load, of either kind."""

    async def run(self) -> ReportT_co:
        """Do everything, and return what it came to."""


def have_descriptors(plan: "LoadPlan") -> None:
    """Raise the limit on file descriptors as far as the load needs; raise `BadRequest` that says how far that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = plan.descriptors
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BadRequest(
            f"{plan.subs} readers and {plan.pubs} senders need {needed} file descriptors, and this process may have "
            f"{hard}: raise the limit (ulimit -Hn {needed}, as root), or give fewer --subs"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def ended_like_interrupted() -> None:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does: with what there is so far, leaving no server behind."""
    _on_end(_interrupt)


@contextmanager
def then_uninterrupted() -> Iterator[None]:
    """Let nothing, once the block was left, keep this process from ending what it started: not a second Ctrl-C."""
    try:
        yield
    finally:
        _on_end(signal.SIG_IGN)


def run_load(load: "Runnable[ReportT_co]") -> ReportT_co:
    """Run a load to its end, or until a signal ends it; raise `KeyboardInterrupt` if it has nothing to tell by then."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_run_until_signal(load))
        except asyncio.CancelledError as error:
            raise KeyboardInterrupt from error


async def _run_until_signal(load: "Runnable[ReportT_co]") -> ReportT_co:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(load.run())

    def end(*_: object) -> None:
        _on_end(signal.SIG_IGN)  # a second one would cancel what the first has begun to end
        loop.call_soon_threadsafe(running.cancel)

    _on_end(end)
    try:
        return await running
    finally:
        _on_end(signal.SIG_IGN)


def _on_end(handler: Callable[..., None] | signal.Handlers) -> None:
    """Set what happens at the signals that end a process; those that are ignored, as in the background, stay so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop
