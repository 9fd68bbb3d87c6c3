"""`chatkit history`: read, search, follow and export a room, or search all rooms."""

from collections.abc import AsyncIterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import (
    DEFAULT_SERVER,
    BackendURL,
    Json,
    ServerURL,
    Token,
    checked,
    complete_room,
    message_seq,
    read_position,
    readable_room,
)
from chatkit.cli.output import print_notice, print_while_read
from chatkit.cli.target import Target
from chatkit.cli.times import read_moment, read_past
from chatkit.core.model import Gap, Message, check_sender
from chatkit.core.text import check_search
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.cli.history_printer import HistoryPrinter
    from chatkit.cli.history_reader import HistoryReader, Selection
    from chatkit.cli.quoted_messages import QuotedMessages

FORMAT_NAMES = ("text", "json", "csv", "markdown")
NEWEST = 50  # printed by default: about what fits on a tall terminal

EPILOG = """
chatkit history ops

chatkit history ops --since 2h --search deploy

chatkit history --search deploy

chatkit history ops --follow

chatkit history ops --as-of 2026-11-20T12:00

chatkit history ops --format csv > ops.csv
"""


def history(
    ctx: typer.Context,
    room: Annotated[
        str | None,
        typer.Argument(
            metavar="ROOM",
            help="The name of the room, such as ops or '#ops'. Without it, --search searches all rooms.",
            show_default=False,
            autocompletion=complete_room,
        ),
    ] = None,
    *,
    count: Annotated[
        int | None,
        typer.Option("-n", min=0, metavar="N", help="Print the newest N messages; 0 is all of them."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="SEQ", parser=checked(read_position), help="Print only messages after this number or cursor."
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="SEQ", parser=checked(read_position), help="Print only messages before this number or cursor."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            parser=checked(read_past),
            help="Print only messages since this time: 2h, 30m or 7d ago, a date, or an RFC 3339 time.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", parser=checked(read_past), help="Print only messages before this time."),
    ] = None,
    sender: Annotated[str | None, typer.Option(metavar="NAME", help="Print only messages from this sender.")] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Print only messages that contain this text.")
    ] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Print only messages that are pinned.")] = False,
    of: Annotated[
        int | None,
        typer.Option(metavar="SEQ", parser=message_seq, help="Print only the replies to this message."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the log as it was written: first texts, and each change as an entry.")
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            parser=checked(read_past),
            help="Print the room as it was at this time, without later changes and messages.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Also print new messages as they arrive, until Ctrl-C.")
    ] = False,
    json: Json = False,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="NAME", help="Print in this format: text, json (one object per line), csv or markdown."
        ),
    ] = "text",
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Print a room's messages, oldest first, with their edits, reactions and replies.

    By default, the newest 50 messages are printed. With --after or --since, and in the formats json, csv and markdown,
    all messages are printed. Missing messages are reported on standard error, and the exit code is then 5.

    As text, a message is a line 'TIME SENDER: TEXT'. Later lines of its text are indented by four spaces, and
    notes, such as its reactions, by two. On a terminal, a message has its number, too. In csv, fields are exactly as
    stored.
    """
    with report_errors(with_next_step):
        import asyncio

        from chatkit.cli.history_printer import HistoryPrinter, text_for_output
        from chatkit.cli.history_reader import Selection

        form = "json" if json else form
        if form not in FORMAT_NAMES:
            raise BadRequest(f"--format must be one of {', '.join(FORMAT_NAMES)}, not {form!r}")
        _check_options(ctx, room)
        now = datetime.now(UTC)
        shows_all = form != "text" or after is not None or since is not None
        selection = Selection(
            room="" if room is None else readable_room(room),
            count=(None if shows_all else NEWEST) if count is None else count or None,
            after=after,
            before=before,
            since=None if since is None else read_moment(since, now),
            until=None if until is None else read_moment(until, now),
            sender=sender and check_sender(sender),
            search=search and check_search(search),
            of=of,
            pinned=pinned,
            raw=raw,
            as_of=None if as_of is None else read_moment(as_of, now),
        )
        printer = HistoryPrinter(form, text_for_output(search=selection.search, shows_room=room is None))
        target = Target(ctx, server, backend, None, token)
        if room is None:
            asyncio.run(print_hits(target, selection, printer))
        else:
            asyncio.run(print_history(target, selection, printer, follow=follow, is_default=count is None))
        if printer.has_gap:
            raise typer.Exit(ExitCode.MESSAGES_MISSING)


_WITH_ALL_ROOMS = frozenset({"search", "count", "json", "form", "server", "backend", "token", "room"})
_EXCLUDED = {
    "follow": ({"before", "until", "as_of", "pinned"}, "--follow has no end: leave out {}"),
    "raw": ({"as_of", "pinned"}, "--raw prints the log, which has no state: leave out {}"),
    "as_of": ({"after", "before"}, "--as-of prints the state of a time: leave out {}"),
}


def _check_options(ctx: typer.Context, room: str | None) -> None:
    """Raise `BadRequest` for options that cannot be given together."""
    given = {param.name or "": param.opts[0] for param in ctx.command.params if ctx.params.get(param.name or "")}
    if room is None and "search" not in given:
        raise BadRequest("give a ROOM ('chatkit rooms' lists them), or search all rooms with --search TEXT")
    if room is None and (left_over := sorted(given[name] for name in given.keys() - _WITH_ALL_ROOMS)):
        raise BadRequest(f"{left_over[0]} is for one room: give a ROOM before --search")
    for option, (excluded, sentence) in _EXCLUDED.items():
        if option in given and (names := sorted(given[name] for name in given.keys() & excluded)):
            raise BadRequest(sentence.format(" and ".join(names)))


async def print_history(
    target: Target, selection: "Selection", printer: "HistoryPrinter", *, follow: bool, is_default: bool
) -> None:
    """Print the selected messages and, with `follow`, new ones as they arrive.

    With `is_default`, nobody said how many messages to print, and a notice says if older ones are left out.
    """
    from chatkit.cli.history_reader import HistoryReader
    from chatkit.cli.quoted_messages import QuotedMessages

    async with target.open() as source:
        reader = HistoryReader(source, selection)
        quotes = QuotedMessages(source if selection.as_of is None else None, selection.room, raw=selection.raw)
        printer.begin()
        async for item in reader.read():
            await _print_item(item, printer, quotes)
        printer.flush()
        if printer.is_empty and printer.form == "text" and not follow:
            print_notice(nothing_sentence(reader, selection))
        if is_default and reader.left_out is not None:
            print_notice(left_out_sentence(reader, selection))
        if follow:
            items = source.follow(selection.room, after=reader.cursor)
            await print_while_read(_print_new(items, selection, printer, quotes))


async def _print_new(
    items: AsyncIterable[Message | Gap], selection: "Selection", printer: "HistoryPrinter", quotes: "QuotedMessages"
) -> None:
    async for item in items:
        if isinstance(item, Gap) or selection.matches(item):
            await _print_item(item, printer, quotes)
            printer.flush()


async def _print_item(item: Message | Gap, printer: "HistoryPrinter", quotes: "QuotedMessages") -> None:
    quoted = await quotes.find(item) if printer.shows_quotes and isinstance(item, Message) else None
    printer.print(item, quoted)


def left_out_sentence(reader: "HistoryReader", selection: "Selection") -> str:
    """Return the notice that older messages are not printed, and how to print them."""
    what = "that match" if selection.has_filters else f"of the {reader.n_entries:,} messages and changes in the room"
    before = "" if selection.as_of else f", --before {reader.left_out} the older ones"
    return f"these are the newest {selection.count} messages {what} (-n 0 prints all{before})"


def nothing_sentence(reader: "HistoryReader", selection: "Selection") -> str:
    """Return the notice that nothing was printed: an empty output can also come from a mistyped room."""
    if reader.n_entries == 0:
        return f"there are no messages in {selection.room} ('chatkit rooms' lists the rooms)"
    return f"no message of {selection.room} matches"


async def print_hits(target: Target, selection: "Selection", printer: "HistoryPrinter") -> None:
    """Print the newest messages of all rooms that contain a text, oldest first."""
    from chatkit.cli.listing import read_listing

    async with target.open() as source:
        search = selection.search or ""
        messages, has_more = await read_listing(lambda **page: source.search(search, **page), selection.count)
    printer.print_all(reversed(messages))
    if not messages and printer.form == "text":
        print_notice("no message matches")
    if has_more and selection.count == NEWEST:
        print_notice(f"these are the newest {NEWEST} messages that match (-n 0 prints all)")
