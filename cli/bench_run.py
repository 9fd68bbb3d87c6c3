"""The process of a load: its file descriptor limit, its event loop, and its clean-up at a signal."""

import asyncio
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from chatkit.end_signals import ignore_signals
from chatkit.errors import BadRequest

if TYPE_CHECKING:
    from chatkit.bench import CampfirePlan, LoadPlan

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ReportT_co = TypeVar("ReportT_co", covariant=True)


class Runnable(Protocol[ReportT_co]):
    """A load, with or without chaos."""

    async def run(self) -> ReportT_co:
        """Run the load and return its report."""


def raise_descriptor_limit(plan: "LoadPlan | CampfirePlan") -> None:
    """Raise the limit on file descriptors to what the load needs. Raise `BadRequest` if that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = plan.descriptors
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BadRequest(
            f"{plan.subs} readers and {plan.pubs} senders need {needed} file descriptors, and this process may have "
            f"{hard}: raise the limit (ulimit -Hn {needed}, as root), or reduce --subs"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def interrupt_on_signals() -> None:
    """Handle SIGTERM and SIGHUP like Ctrl-C: print the report so far and stop all servers."""
    _handle_signals(_interrupt)


@contextmanager
def ignore_signals_afterwards() -> Iterator[None]:
    """Ignore signals after the block, so that a second Ctrl-C does not interrupt the clean-up."""
    try:
        yield
    finally:
        ignore_signals(SIGNALS)


def run_load(load: "Runnable[ReportT_co]") -> ReportT_co:
    """Run a load until its end or a signal. Raise `KeyboardInterrupt` if there is nothing to report by then."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_run_until_signal(load))
        except asyncio.CancelledError as error:
            raise KeyboardInterrupt from error


async def _run_until_signal(load: "Runnable[ReportT_co]") -> ReportT_co:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(load.run())
    is_ending = False

    def end() -> None:
        nonlocal is_ending
        if not is_ending:  # a second signal would cancel the clean-up
            is_ending = True
            running.cancel()

    _handle_signals(lambda *_: loop.call_soon_threadsafe(end))
    try:
        return await running
    finally:
        ignore_signals(SIGNALS)


def _handle_signals(handler: Callable[..., object]) -> None:
    """Set the handler of the signals. A signal that is ignored, as in the background, stays ignored."""
    for number in SIGNALS:
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
