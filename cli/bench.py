"""`chatkit bench`: load a server, and prove that nothing was lost; with --chaos, while servers are killed."""

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.exit_codes import exits
from chatkit.cli.options import Json, Token
from chatkit.cli.output import begin_json
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.bench import LoadPlan

EPILOG = """
chatkit bench

chatkit bench --subs 1000 --pubs 32 --rooms 10 --messages 100000

chatkit bench --server https://chat.example.org --resume --json

chatkit bench --chaos --duration 10m

chatkit bench --chaos --store redis --kill-store --servers 4
"""

PANEL = "With --chaos"
NOT_WITH_CHAOS = ("server", "messages", "size", "window", "resume", "token")
ONLY_WITH_CHAOS = ("servers", "store", "backend", "duration", "rate", "kill_store", "seed")


def bench(
    ctx: typer.Context,
    *,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The server to load; without it, one of its own.", show_default=False),
    ] = None,
    subs: Annotated[
        int, typer.Option(metavar="N", help="Readers, spread over the rooms. With --chaos, 12 by default.")
    ] = 200,
    pubs: Annotated[int, typer.Option(metavar="N", help="Senders, spread over the rooms.")] = 4,
    rooms: Annotated[int, typer.Option(metavar="N", help="Rooms. With --chaos, 3 by default.")] = 1,
    messages: Annotated[int, typer.Option(metavar="N", help="Messages, of all senders together.")] = 20_000,
    size: Annotated[int, typer.Option(metavar="BYTES", help="The size of a message's body.")] = 100,
    window: Annotated[int, typer.Option(metavar="N", help="Messages that a sender has on their way at most.")] = 64,
    resume: Annotated[bool, typer.Option("--resume", help="Keep cutting readers off, and have them resume.")] = False,
    json: Json = False,
    token: Token = None,
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos",
            help="Kill, pause and restart servers of its own, on one store, meanwhile.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    servers: Annotated[int, typer.Option(metavar="N", help="Servers.", rich_help_panel=PANEL)] = 3,
    store: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The store to start for them: sqlite, redis, redis-cluster or postgresql.",
            rich_help_panel=PANEL,
        ),
    ] = "sqlite",
    backend: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A store of yours in its place.", show_default=False, rich_help_panel=PANEL),
    ] = None,
    duration: Annotated[
        str, typer.Option(metavar="TIME", help="For so long, as 90s or 10m.", rich_help_panel=PANEL)
    ] = "1m",
    rate: Annotated[
        float, typer.Option(metavar="N", help="Messages a second, of all senders together.", rich_help_panel=PANEL)
    ] = 200,
    kill_store: Annotated[
        bool,
        typer.Option("--kill-store", help="Kill and pause the store that it started, too.", rich_help_panel=PANEL),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Have the same schedule again, by the number it said.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Load a server, measure it, and prove that nothing was lost, repeated or out of order.

    What every reader got, and what the store has, is compared with what was acknowledged: the exit code is 1 if a
    message was lost, came twice or came out of order.

    Without --server, it starts one of its own, on a store that goes with it. With it, the rooms (bench-…) stay there,
    and where the server limits rates, senders wait as they are told.

    With --chaos, it starts several on one store, and kills, pauses and restarts them while senders publish by key, each
    message until it is acknowledged, and readers follow by cursor, both from server to server. It also says how soon a
    reader heard the next message: counted from the moment its server was struck, where others stood; where the store or
    all servers were away, from the moment they were back. With --backend, the rooms (chaos-…) stay there.
    """
    with exits():
        if json:
            begin_json()
        given = _given(ctx)
        if chaos:
            _refuse(given, NOT_WITH_CHAOS, "does not go with --chaos")
            from chatkit.cli.bench_chaos import read_plan, run_chaos

            plan = read_plan(
                servers=servers,
                store=store if "store" in given or backend is None else None,
                backend=backend,
                duration=duration,
                rooms=rooms if "rooms" in given else None,
                subs=subs if "subs" in given else None,
                pubs=pubs,
                rate=rate,
                kill_store=kill_store,
                seed=seed,
            )
            status = run_chaos(plan, json=json)
        else:
            _refuse(given, ONLY_WITH_CHAOS, "goes with --chaos only")
            from chatkit.bench import LoadPlan

            load = LoadPlan(
                subs=subs, pubs=pubs, rooms=rooms, messages=messages, size=size, window=window, resume=resume
            )
            status = run_bench(load, server, token, json=json)
        if status:
            raise typer.Exit(status)


def _given(ctx: typer.Context) -> set[str]:
    """Return which options the command line names."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _refuse(given: set[str], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if name in given:
            raise BadRequest(f"--{name.replace('_', '-')} {why}")


def run_bench(plan: "LoadPlan", server: str | None, token: str | None, *, json: bool) -> int:
    """Load the server, or one of our own; print what it came to and return the exit code. Raise `ChatkitError`."""
    from chatkit.bench import Load, local_server
    from chatkit.cli.bench_report import report_lines, shown_progress
    from chatkit.cli.bench_run import ended_like_interrupted, have_descriptors, run_load, then_uninterrupted
    from chatkit.client.endpoint import Endpoint

    have_descriptors(plan)
    ended_like_interrupted()
    with (
        local_server(plan.descriptors) if server is None else nullcontext(server) as url,
        then_uninterrupted(),
        shown_progress() as show,
    ):
        load = Load(plan, Endpoint.parse(url, token=token), show)
        report = run_load(load)
    for line in report_lines(report, json=json, is_own=server is None):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    if load.is_interrupted:
        return ExitCode.INTERRUPTED
    if report.faults:
        return ExitCode.FAILED
    if load.error is not None:
        raise load.error
    return ExitCode.MESSAGES_MISSING if report.gaps else ExitCode.DONE
