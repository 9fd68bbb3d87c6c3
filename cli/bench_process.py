"""What a load asks of its process: file descriptors, an event loop, and an end that cleans up."""

import asyncio
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from chatkit.errors import BadRequest

if TYPE_CHECKING:
    from chatkit.bench import Load, Plan, Report


def have_descriptors(plan: "Plan") -> None:
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


def terminated_like_interrupted() -> None:
    """Let SIGTERM end the command as Ctrl-C does: with what there is so far, and without leaving a server behind."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def run_load(load: "Load") -> "Report":
    """Run a load to its end, or to Ctrl-C."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(load.run())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop
