"""`chatkit bench`: load a server and check that nothing was lost; with --chaos, while servers are killed.

With --like, the loads are those of another project's benchmark.
"""

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import Json, Token, check_server, checked
from chatkit.cli.output import begin_json, print_lines
from chatkit.cli.times import read_duration
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.bench import LoadPlan

EPILOG = """
chatkit bench

chatkit bench --subs 1000 --pubs 32 --rooms 10 --messages 100000

chatkit bench --server https://chat.example.org --resume --json

chatkit bench --like campfire --seconds 8

chatkit bench --chaos --duration 10m

chatkit bench --chaos --store redis --kill-store --servers 4
"""

PANEL = "With --chaos"
LIKE_PANEL = "With --like"
NOT_WITH_CHAOS = ("server", "messages", "size", "window", "resume", "token", "like", "seconds")
NOT_WITH_LIKE = ("pubs", "rooms", "messages", "window", "resume")
ONLY_WITH_CHAOS = ("servers", "store", "backend", "duration", "workers", "receivers", "rate", "kill_store", "seed")


def bench(
    ctx: typer.Context,
    *,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            parser=checked(check_server),
            help="Load this server. Without it, the command starts one.",
            show_default=False,
        ),
    ] = None,
    subs: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Use this many readers, spread over the rooms. The default is 12 with --chaos, and 1,000 with --like.",
        ),
    ] = 200,
    pubs: Annotated[int, typer.Option(metavar="N", help="Use this many senders, spread over the rooms.")] = 4,
    rooms: Annotated[int, typer.Option(metavar="N", help="Use this many rooms. With --chaos, the default is 3.")] = 1,
    messages: Annotated[
        int, typer.Option(metavar="N", help="Publish this many messages from all senders together.")
    ] = 20_000,
    size: Annotated[int, typer.Option(metavar="BYTES", help="Give each message a body of this size.")] = 100,
    window: Annotated[
        int, typer.Option(metavar="N", help="Let each sender have this many unacknowledged messages.")
    ] = 64,
    resume: Annotated[
        bool, typer.Option("--resume", help="Disconnect readers repeatedly and let them resume.")
    ] = False,
    json: Json = False,
    token: Token = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Run the loads of another benchmark: campfire.",
            show_default=False,
            rich_help_panel=LIKE_PANEL,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="N", help="Measure each load for this time.", rich_help_panel=LIKE_PANEL)
    ] = 4,
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos",
            help="Start several servers on one store, and kill, pause and restart them during the load.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    servers: Annotated[int, typer.Option(metavar="N", help="Start this many servers.", rich_help_panel=PANEL)] = 3,
    store: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Start this store: sqlite, redis, redis-cluster or postgresql.",
            rich_help_panel=PANEL,
        ),
    ] = "sqlite",
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Use this store instead of starting one.", show_default=False, rich_help_panel=PANEL
        ),
    ] = None,
    duration: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            parser=checked(read_duration),
            help="Run for this time, such as 90s or 10m.",
            rich_help_panel=PANEL,
        ),
    ] = "1m",
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Let this many workers share a consumer, and one have an ordered consumer. 0 leaves both out.",
            rich_help_panel=PANEL,
        ),
    ] = 4,
    receivers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Send webhooks to this many receivers. (default: 3, or 0 with --workers 0)",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            metavar="N", help="Publish this many messages per second from all senders together.", rich_help_panel=PANEL
        ),
    ] = 200,
    kill_store: Annotated[
        bool,
        typer.Option(
            "--kill-store", help="Also kill and pause the store that the command started.", rich_help_panel=PANEL
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Use the schedule of the earlier run that printed this --seed.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> None:
    """Measure a server under load, and check that no message was lost, repeated or out of order.

    The command compares the messages that each reader received, and those in the store, with the acknowledged
    messages. The exit code is 1 if a message was lost, repeated or out of order.

    Without --server, the command starts a server on a temporary store. With --server, its rooms (bench-…) remain in
    the store afterwards, and senders wait when the server limits their rate.

    With --like campfire, the loads are those with which the implementations of Campfire are compared: 16 clients post;
    4 and then 64 clients post to a room with 1,000 readers; and the server is restarted while 1,000 clients are
    connected, unless --server is given. Afterwards, each acknowledged message is compared with the history: its
    number and its exact body. A server that limits the rate of messages cannot be measured so.

    With --chaos, the command starts several servers on one store, and kills, pauses and restarts them. Senders repeat
    each message with its key until it is acknowledged, and readers resume from their cursors. Both move to another
    server when their server fails. Workers of two consumers do so, too, and are killed and paused themselves. Webhooks
    are sent to receivers that sometimes refuse a request. The report shows the time until readers received the next
    message. This time begins when their server fails or, if the store or all servers were down, when these are back.
    With --backend, the rooms (chaos-…) remain in the store.
    """
    with report_errors():
        if json:
            begin_json()
        given = _options_given(ctx)
        if chaos:
            _check_options(given, NOT_WITH_CHAOS, "does not go with --chaos")
            from chatkit.cli.bench_chaos import read_plan, run_chaos

            plan = read_plan(
                servers=servers,
                store=store if "store" in given or backend is None else None,
                backend=backend,
                duration=duration,
                rooms=rooms if "rooms" in given else None,
                subs=subs if "subs" in given else None,
                pubs=pubs,
                workers=workers,
                receivers=receivers,
                rate=rate,
                kill_store=kill_store,
                seed=seed,
            )
            status = run_chaos(plan, json=json)
        elif like is not None:
            _check_options(given, ONLY_WITH_CHAOS, "goes with --chaos only")
            _check_options(given, NOT_WITH_LIKE, "does not go with --like")
            from chatkit.cli import bench_campfire

            campfire = bench_campfire.read_plan(
                like, subs=subs if "subs" in given else None, seconds=seconds, size=size
            )
            status = bench_campfire.run_campfire(campfire, server, token, json=json)
        else:
            _check_options(given, ONLY_WITH_CHAOS, "goes with --chaos only")
            _check_options(given, ("seconds",), "goes with --like only")
            from chatkit.bench import LoadPlan

            load = LoadPlan(
                subs=subs, pubs=pubs, rooms=rooms, messages=messages, size=size, window=window, resume=resume
            )
            status = run_bench(load, server, token, json=json)
        if status:
            raise typer.Exit(status)


def _options_given(ctx: typer.Context) -> set[str]:
    """Return the names of the options on the command line."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _check_options(given: set[str], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if name in given:
            raise BadRequest(f"--{name.replace('_', '-')} {why}")


def run_bench(plan: "LoadPlan", server: str | None, token: str | None, *, json: bool) -> int:
    """Load the server, or start one if none is given. Print the report and return the exit code."""
    from chatkit.bench import Load, local_server
    from chatkit.cli.bench_report import load_report_lines, show_progress
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
        load = Load(plan, Endpoint.parse(url, token=token), show)
        report = run_load(load)
    print_lines(load_report_lines(report, json=json, is_own=server is None))
    sys.stdout.flush()
    if load.is_interrupted:
        return ExitCode.INTERRUPTED
    if report.faults:
        return ExitCode.FAILED
    if load.error is not None:
        raise load.error
    return ExitCode.MESSAGES_MISSING if report.gaps else ExitCode.DONE
