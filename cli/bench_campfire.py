"""`chatkit bench --like campfire`: turns options into a plan, runs it and prints the report."""

import asyncio
import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from chatkit.cli.output import print_lines
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.bench import CampfirePlan

CAMPFIRE = "campfire"


def read_plan(like: str, *, subs: int | None, seconds: float, size: int) -> "CampfirePlan":
    """Return the plan. Without `subs`, it is the plan's default. Raise `BadRequest`."""
    from chatkit.bench import CampfirePlan
    from chatkit.bench.campfire.plan import DEFAULT_SUBS

    if like != CAMPFIRE:
        raise BadRequest(f"--like must be {CAMPFIRE}, not {like!r}")
    return CampfirePlan(subs=DEFAULT_SUBS if subs is None else subs, seconds=seconds, size=size)


def run_campfire(plan: "CampfirePlan", server: str | None, token: str | None, *, json: bool) -> int:
    """Load the server, or start one and restart it, too. Print the report and return the exit code."""
    from chatkit.bench import Campfire, local_server
    from chatkit.cli.bench_report import campfire_report_lines, show_progress
    from chatkit.cli.bench_run import ignore_signals_afterwards, interrupt_on_signals, raise_descriptor_limit, run_load
    from chatkit.client.endpoint import Endpoint

    raise_descriptor_limit(plan)
    interrupt_on_signals()
    with (
        local_server(plan.descriptors) if server is None else nullcontext() as own,
        ignore_signals_afterwards(),
        show_progress() as show,
    ):
        url = own.url if own else server or ""
        restart = partial(asyncio.to_thread, own.restart) if own else None
        campfire = Campfire(plan, Endpoint.parse(url, token=token), show, restart)
        report = run_load(campfire)
    print_lines(campfire_report_lines(report, json=json, is_own=server is None))
    sys.stdout.flush()
    if campfire.is_interrupted:
        return ExitCode.INTERRUPTED
    if not report.is_flawless:
        return ExitCode.FAILED
    if campfire.error is not None:
        raise campfire.error
    return ExitCode.DONE
