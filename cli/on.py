"""`chatkit on`: run a command for each message of rooms."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.help import HelpCommand
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import (
    DEFAULT_SERVER,
    BackendURL,
    Json,
    SenderName,
    ServerURL,
    Token,
    check_place,
    checked,
    complete_room,
)
from chatkit.cli.output import begin_json
from chatkit.cli.target import Target, source_rank
from chatkit.cli.times import read_duration
from chatkit.core.model import MAX_SENDER_CHARS, check_room
from chatkit.errors import BadName, BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.cli.on_command import MessageCommand
    from chatkit.cli.on_filter import MessageFilter, RoomPatterns
    from chatkit.cli.on_runner import OnOptions

COMMAND: Final = "chatkit.on.command"  # where the words behind -- are, in the context's `meta`
MAX_WORKERS: Final = 64

EPILOG = """
chatkit on deploys --as deployer --mention deployer -- ./deploy.sh

chatkit on 'ops*' --as archive --workers 4 --timeout 1m -- ./store.sh

chatkit on help --match '^!uptime' --reply -- uptime
"""


def _timeout_s(text: str) -> float:
    timeout_s = read_duration(text).total_seconds()
    if not timeout_s:
        raise BadRequest("it must be at least 1s")
    return timeout_s


class OnCommand(HelpCommand):
    """A command whose words behind -- are another command, with options of its own."""

    usage_end = "-- COMMAND..."

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words before --, and keep those behind it."""
        before, after = args, []
        if "--" in args:
            at = args.index("--")
            before, after = args[:at], args[at + 1 :]
        ctx.meta[COMMAND] = after
        return super().parse_args(ctx, before)


def on(
    ctx: typer.Context,
    rooms: Annotated[
        list[str],
        typer.Argument(
            metavar="ROOM",
            help="The rooms; 'ops*' is all rooms whose names begin with ops, also new ones.",
            show_default=False,
            autocompletion=complete_room,
        ),
    ],
    *,
    as_: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Continue where the consumer of this name was. Without it, no place is kept.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            parser=checked(check_place),
            help="Begin a new consumer at the start or the end, or after a cursor.",
        ),
    ] = "end",
    mention: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only for messages that mention this name.")
    ] = None,
    match: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only for messages whose text matches this regular expression.")
    ] = None,
    sender: Annotated[str | None, typer.Option(metavar="NAME", help="Only for messages from this sender.")] = None,
    own: Annotated[bool, typer.Option("--own", help="Also for messages with your own name.")] = False,
    changes: Annotated[
        bool, typer.Option("--changes", help="Also for edits, reactions and other changes, and redacted messages.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=MAX_WORKERS, metavar="N", help="Run this many commands at the same time.")
    ] = 1,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1_000,
            metavar="N",
            help="Repeat a failed command this often, 5 times by default. Then the message is given up: with --as, it"
            " is reported in ROOM.failed.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", parser=checked(_timeout_s), help="End a command that takes longer, such as 30s or 5m."
        ),
    ] = None,
    reply: Annotated[
        bool, typer.Option("--reply", help="Publish the output of the command as a reply to the message.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print successful runs, and what the commands print as errors.")
    ] = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Run a command for each message of rooms, each at least once.

    The command gets the message as JSON on its standard input, and CHATKIT_ROOM, CHATKIT_SEQ, CHATKIT_SENDER and
    CHATKIT_KEY in its environment; CHATKIT_KEY is the same whenever the message comes again. If it exits with 0, the
    message is done. If it fails, it is run again later.

    With --as, the server keeps the place: after a restart, or after being away, no message is missed. With one worker,
    messages come in order, and one that fails holds back those behind it. With several, or in several processes with
    --workers 2 or more, they share the messages.

    Messages with your own name are left out. That is the name of the token; without one, with --as and without --name,
    it is the name of the consumer.

    Ctrl-C and SIGTERM let the commands that run finish. A second one kills them.
    """
    with report_errors(with_next_step):
        import asyncio

        from chatkit.cli.blocking_stream import blocking_stream
        from chatkit.cli.on_command import STDERR, STDOUT, MessageCommand
        from chatkit.cli.on_filter import MessageFilter, RoomPatterns
        from chatkit.cli.on_runner import OnOptions

        options = OnOptions(
            consumer=None if as_ is None else check_consumer(as_),
            after=_place(after, has_name=as_ is not None),
            n_workers=workers,
            retries=retries,
            changes=changes,
            reply=reply,
        )
        patterns = RoomPatterns(rooms)
        which = MessageFilter.parse(mention, match, sender)
        is_bot = options.consumer is not None and source_rank(ctx, "name") > 0  # another source has a person's name
        target = Target(ctx, server, backend, None if is_bot else name, token)
        if is_bot:
            target.name = (options.consumer or "")[:MAX_SENDER_CHARS]
        if json:
            begin_json()
        with blocking_stream(STDERR if json else STDOUT) as stdout:
            command = MessageCommand(
                _words(ctx.meta[COMMAND]),
                timeout_s=None if timeout is None else _timeout_s(timeout),
                reads_output=reply,
                stdout=stdout,
                on_errors=_print_errors if verbose else None,
            )
            run = run_on(target, patterns, options, which, command, own=own, json=json, verbose=verbose)
            status = asyncio.run(run)
        if status is not ExitCode.DONE:
            raise typer.Exit(status)


async def run_on(
    target: Target,
    rooms: "RoomPatterns",
    options: "OnOptions",
    which: "MessageFilter",
    command: "MessageCommand",
    *,
    own: bool,
    json: bool,
    verbose: bool,
) -> ExitCode:
    """Run the command until a signal ends it. Return the exit code."""
    import msgspec

    from chatkit.cli.on_report import OnReport
    from chatkit.cli.on_runner import OnRunner
    from chatkit.client.daemon_call import call_in_daemon

    name = await call_in_daemon(partial(_own_name, target))
    target.report_name(name)
    which = msgspec.structs.replace(which, own_name=None if own else name)
    async with target.open() as source:
        report = OnReport(json=json, is_verbose=verbose)
        return await OnRunner(source, rooms, options, which=which, command=command, report=report).run()


def _own_name(target: Target) -> str:
    """Return the name of the messages that this command publishes."""
    if target.backend is not None:
        return target.name
    with target.consumer_client() as client:
        return client.my_name()


def check_consumer(name: str) -> str:
    """Return the name of a consumer. Raise `BadRequest`."""
    try:
        return check_room(name)
    except BadName as error:
        raise BadRequest(f"the name of a consumer follows the rule of a room's: {error}") from error


def _place(after: str, *, has_name: bool) -> str:
    if after != "end" and not has_name:
        raise BadRequest("--after is the place of a new consumer: give its name with --as")
    return after


def _words(command: Sequence[str]) -> Sequence[str]:
    if not command:
        raise BadRequest("give the command behind --, such as: chatkit on ops -- ./deploy.sh")
    return command


def _print_errors(data: bytes) -> None:
    import sys

    sys.stderr.buffer.write(data)
    sys.stderr.flush()
