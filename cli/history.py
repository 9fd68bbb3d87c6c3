"""`chatkit history`: read, search, follow and export a room."""

import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, RoomName, ServerURL, Token, readable_room
from chatkit.cli.output import begin_export, begin_json, print_notice
from chatkit.cli.target import Target
from chatkit.cli.times import read_moment
from chatkit.core.model import Cursor, Gap, Message, check_sender
from chatkit.core.text import check_search, fold
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client

FORMAT_NAMES = ("text", "json", "csv", "markdown")
NEWEST = 50  # printed by default: about what fits on a tall terminal
PAGE_MESSAGES = 500  # per request

EPILOG = """
chatkit history ops

chatkit history ops --since 2h --search deploy

chatkit history ops --follow

chatkit history ops --format csv > ops.csv
"""


class Selection(msgspec.Struct, frozen=True):
    """The messages of a room to print. `count` None is all of them."""

    room: str
    count: int | None = None
    after: str | None = None
    before: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sender: str | None = None
    search: str | None = None

    @property
    def filters(self) -> dict[str, Any]:
        return {"since": self.since, "until": self.until, "sender": self.sender, "search": self.search}

    def matches(self, message: Message) -> bool:
        """Return whether a new message is selected."""
        if self.sender is not None and message.sender != self.sender:
            return False
        return self.search is None or fold(self.search) in fold(message.body)


def history(
    ctx: typer.Context,
    room: RoomName,
    *,
    count: Annotated[
        int | None,
        typer.Option("-n", min=0, metavar="N", help="Print the newest N messages; 0 is all of them."),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="SEQ", help="Print only messages after this number or cursor.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="SEQ", help="Print only messages before this number or cursor.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Print only messages since this time: 2h, 30m or 7d ago, a date, or an RFC 3339 time."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Print only messages before this time.")] = None,
    sender: Annotated[str | None, typer.Option(metavar="NAME", help="Print only messages from this sender.")] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Print only messages that contain this text.")
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
    """Print a room's messages, oldest first.

    By default, the newest 50 messages are printed. With --after or --since, and in the formats json, csv and markdown,
    all messages are printed. Missing messages are reported on standard error, and the exit code is then 5. In csv,
    fields are printed exactly as they are stored.
    """
    with report_errors():
        import asyncio

        form = "json" if json else form
        if form not in FORMAT_NAMES:
            raise BadRequest(f"--format must be one of {', '.join(FORMAT_NAMES)}, not {form!r}")
        if follow and (before is not None or until is not None):
            raise BadRequest("--follow has no end: leave out --before and --until")
        for option, text in (("search", search), ("sender", sender), ("after", after), ("before", before)):
            _check_text(option, text)
        now = datetime.now(UTC)
        shows_all = form != "text" or after is not None or since is not None
        selection = Selection(
            readable_room(room),
            (None if shows_all else NEWEST) if count is None else count or None,
            after,
            before,
            None if since is None else read_moment(since, now),
            None if until is None else read_moment(until, now),
            sender and check_sender(sender),
            search and check_search(search),
        )
        printer = HistoryPrinter(form)
        asyncio.run(print_history(Target(ctx, server, backend, None, token), selection, printer, follow=follow))
        if printer.has_gap:
            raise typer.Exit(ExitCode.MESSAGES_MISSING)


def _check_text(option: str, text: str | None) -> None:
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"--{option} is not UTF-8 text") from error


async def print_history(target: Target, selection: Selection, printer: "HistoryPrinter", *, follow: bool) -> None:
    """Print the selected messages and, with `follow`, new ones as they arrive."""
    async with target.open() as source:
        reader = HistoryReader(source, selection)
        printer.begin()
        async for item in reader.read():
            printer.print(item)
        if not follow:
            return
        printer.flush()
        async for item in source.follow(selection.room, after=reader.cursor):
            if isinstance(item, Gap) or selection.matches(item):
                printer.print(item)
                printer.flush()


class HistoryReader:
    """Reads the selected messages. `cursor` is the position from selection a follow continues."""

    def __init__(self, source: "Client | StoreClient", selection: Selection) -> None:
        self.cursor = Cursor("none", 0)
        self._source = source
        self._selection = selection

    async def read(self) -> AsyncIterator[Message | Gap]:
        """Iterate over the selected messages and the gaps between them, oldest first."""
        # Messages that arrive during the reading are after this cursor, where a follow continues.
        self.cursor = (await self._source.history(self._selection.room, limit=1)).cursor
        left = self._selection.count
        items = self._all() if left is None or self._selection.after is not None else self._newest(left)
        async for item in items:
            if isinstance(item, Message):
                self._advance(item.cursor)
                left = None if left is None else left - 1
            yield item
            if left == 0:
                return

    def _advance(self, cursor: Cursor) -> None:
        if cursor.epoch != self.cursor.epoch or cursor.seq > self.cursor.seq:
            self.cursor = cursor

    async def _all(self) -> AsyncIterator[Message | Gap]:
        selection = self._selection
        is_first = True
        async for item in self._source.scroll(
            selection.room,
            after=0 if selection.after is None else selection.after,
            before=selection.before,
            **selection.filters,
        ):
            # Without --after, all stored messages are wanted: it is no gap that older ones were trimmed.
            is_expected = is_first and selection.after is None and isinstance(item, Gap) and item.reason == "trimmed"
            is_first = False
            if not is_expected:
                yield item

    async def _newest(self, count: int) -> AsyncIterator[Message | Gap]:
        selection = self._selection
        pages: list[Sequence[Message]] = []
        before: int | str | None = selection.before
        while count > 0:
            page = await self._source.history(
                selection.room, before=before, limit=min(count, PAGE_MESSAGES), **selection.filters
            )
            pages.append(page.messages)
            count -= len(page.messages)
            if page.complete or not page.messages:
                break
            before = page.messages[0].seq
        for page_messages in reversed(pages):
            for message in page_messages:
                yield message


class HistoryPrinter:
    """Prints messages in a format, and gaps on standard error."""

    def __init__(self, form: str) -> None:
        from chatkit.cli.formats import FORMATS
        from chatkit.cli.sanitize import visible

        self.has_gap = False
        self._name = form
        self._format = FORMATS[form]
        self._sanitize = visible if form == "csv" and sys.stdout.isatty() else str

    def begin(self) -> None:
        """Print the header of the format, if it has one."""
        from chatkit.cli.formats import csv_header

        if self._name == "json":
            begin_json()
        elif self._name != "text":
            begin_export()
        if self._name == "csv":
            sys.stdout.write(f"{csv_header()}\n")

    def print(self, item: Message | Gap) -> None:
        """Print a message or a gap."""
        from chatkit.cli.formats import gap_sentence, json_line

        if isinstance(item, Message):
            sys.stdout.write(f"{self._sanitize(self._format(item))}\n")
            return
        self.has_gap = True
        if self._name == "json":
            sys.stdout.write(f"{json_line(item)}\n")
        self.flush()  # so that the sentence is printed at the position of the missing messages
        print_notice(gap_sentence(item))

    def flush(self) -> None:
        sys.stdout.flush()
