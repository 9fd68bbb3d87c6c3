"""`chatkit bench`: load a server, and prove that nothing was lost."""

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.options import Json, Token
from chatkit.cli.status import FAILED, INTERRUPTED, MESSAGES_MISSING, exits

if TYPE_CHECKING:
    from chatkit.bench import Plan

EPILOG = """
chatkit bench

chatkit bench --subs 1000 --pubs 32 --rooms 10 --messages 100000

chatkit bench --server https://chat.example.org --token "$TOKEN" --resume --json
"""


def bench(
    *,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The server to load; without it, one of its own.", show_default=False),
    ] = None,
    subs: Annotated[int, typer.Option(metavar="N", help="Readers, spread over the rooms.")] = 200,
    pubs: Annotated[int, typer.Option(metavar="N", help="Senders, spread over the rooms.")] = 4,
    rooms: Annotated[int, typer.Option(metavar="N", help="Rooms.")] = 1,
    messages: Annotated[int, typer.Option(metavar="N", help="Messages, of all senders together.")] = 20_000,
    size: Annotated[int, typer.Option(metavar="BYTES", help="The size of a message's body.")] = 100,
    window: Annotated[int, typer.Option(metavar="N", help="Messages that a sender has on their way at most.")] = 64,
    resume: Annotated[bool, typer.Option("--resume", help="Keep cutting readers off, and have them resume.")] = False,
    json: Json = False,
    token: Token = None,
) -> None:
    """Load a server, measure it, and prove that nothing was lost, repeated or out of order.

    What every reader got, and what the store has, is compared with what was acknowledged: the exit code is 1 if a
    message was lost, came twice or came out of order.

    Without --server, it starts one of its own, on a store that goes with it. With it, the rooms (bench-…) stay there,
    and where the server limits rates, senders wait as they are told.
    """
    with exits():
        from chatkit.bench import Plan

        plan = Plan(subs=subs, pubs=pubs, rooms=rooms, messages=messages, size=size, window=window, resume=resume)
        status = run_bench(plan, server, token, json=json)
        if status:
            raise typer.Exit(status)


def run_bench(plan: "Plan", server: str | None, token: str | None, *, json: bool) -> int:
    """Load the server, or one of our own; print what it came to and return the exit code. Raise `ChatkitError`."""
    from chatkit.bench import Load, own_server
    from chatkit.cli.bench_process import have_descriptors, run_load, terminated_like_interrupted
    from chatkit.cli.bench_view import report_lines, shown_progress
    from chatkit.client.endpoint import Endpoint

    have_descriptors(plan)
    terminated_like_interrupted()
    with own_server(plan.descriptors) if server is None else nullcontext(server) as url, shown_progress() as show:
        load = Load(plan, Endpoint.parse(url, token=token), show)
        report = run_load(load)
    for line in report_lines(report, json=json, is_own=server is None):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    if load.is_interrupted:
        return INTERRUPTED
    if report.faults:
        return FAILED
    if load.error is not None:
        raise load.error
    return MESSAGES_MISSING if report.gaps else 0
