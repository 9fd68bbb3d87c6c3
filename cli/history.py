"""`chatkit history`: read, search, follow and export a room."""

import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from chatkit.cli.exit_codes import exits, say
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, RoomName, ServerURL, Target, Token, room_name
from chatkit.cli.output import begin_export, begin_json
from chatkit.cli.times import read_moment
from chatkit.core.model import Cursor, Gap, Message, check_sender
from chatkit.core.text import check_search, fold
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client

FORMS = ("text", "json", "csv", "markdown")
NEWEST = 50  # shown when nothing else is asked for: what fits a tall terminal
PAGE_MESSAGES = 500

EPILOG = """
chatkit history ops

chatkit history ops --since 2h --search deploy

chatkit history ops --follow

chatkit history ops --format csv > ops.csv
"""


class Selection(msgspec.Struct, frozen=True):
    """Which messages of a room are wanted. `count` None is all of them."""

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
        """What a page is filtered by."""
        return {"since": self.since, "until": self.until, "sender": self.sender, "search": self.search}

    def holds(self, message: Message) -> bool:
        """Say whether a message that has just come is wanted."""
        if self.sender is not None and message.sender != self.sender:
            return False
        return self.search is None or fold(self.search) in fold(message.body)


def history(
    ctx: typer.Context,
    room: RoomName,
    *,
    count: Annotated[
        int | None,
        typer.Option("-n", min=0, metavar="N", help="The newest N; 0 is all."),
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="SEQ", help="Only behind this number or cursor.")] = None,
    before: Annotated[str | None, typer.Option(metavar="SEQ", help="Only before this number or cursor.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 2h, 30m, 7d, a date, or an RFC 3339 time.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")] = None,
    sender: Annotated[str | None, typer.Option(metavar="NAME", help="Only from this sender.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only what contains this text.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    json: Json = False,
    form: Annotated[
        str, typer.Option("--format", metavar="FORM", help="text, json (a line each), csv or markdown.")
    ] = "text",
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Print a room's messages, oldest first.

    The newest 50 as text; all of them for json, csv and markdown, and behind --after or --since. Where messages are
    missing, stderr says which, and the exit code is 5. In csv, fields are as they are stored.
    """
    with exits():
        import asyncio

        form = "json" if json else form
        if form not in FORMS:
            raise BadRequest(f"--format is one of {', '.join(FORMS)}, not {form!r}")
        if follow and (before is not None or until is not None):
            raise BadRequest("--follow has no end: give neither --before nor --until with it")
        for option, text in (("search", search), ("sender", sender), ("after", after), ("before", before)):
            _check_text(option, text)
        now = datetime.now(UTC)
        shows_all = form != "text" or after is not None or since is not None
        which = Selection(
            room_name(room),
            (None if shows_all else NEWEST) if count is None else count or None,
            after,
            before,
            None if since is None else read_moment(since, now),
            None if until is None else read_moment(until, now),
            sender and check_sender(sender),
            search and check_search(search),
        )
        printer = HistoryPrinter(form)
        asyncio.run(print_history(Target(ctx, server, backend, None, token), which, printer, follow=follow))
        if printer.has_gap:
            raise typer.Exit(ExitCode.MESSAGES_MISSING)


def _check_text(option: str, text: str | None) -> None:
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"--{option} is not UTF-8 text") from error


async def print_history(place: Target, which: Selection, printer: "HistoryPrinter", *, follow: bool) -> None:
    """Print what is wanted, and go on with what comes if that is wanted too."""
    async with place.rooms() as source:
        reader = HistoryReader(source, which)
        printer.begin()
        async for item in reader.read():
            printer.print(item)
        if not follow:
            return
        printer.flush()
        async for item in source.follow(which.room, after=reader.cursor):
            if isinstance(item, Gap) or which.holds(item):
                printer.print(item)
                printer.flush()


class HistoryReader:
    """Reads what is wanted of a room, and knows where to go on behind it."""

    def __init__(self, source: "Client | StoreClient", which: Selection) -> None:
        self.cursor = Cursor("none", 0)
        self._source = source
        self._which = which

    async def read(self) -> AsyncIterator[Message | Gap]:
        """Yield it, oldest first."""
        # What comes while this reads is found behind this cursor, by a follow.
        self.cursor = (await self._source.history(self._which.room, limit=1)).cursor
        left = self._which.count
        items = self._all() if left is None or self._which.after is not None else self._newest(left)
        async for item in items:
            if isinstance(item, Message):
                self._pass(item.cursor)
                left = None if left is None else left - 1
            yield item
            if left == 0:
                return

    def _pass(self, cursor: Cursor) -> None:
        if cursor.epoch != self.cursor.epoch or cursor.seq > self.cursor.seq:
            self.cursor = cursor

    async def _all(self) -> AsyncIterator[Message | Gap]:
        which = self._which
        is_first = True
        async for item in self._source.scroll(
            which.room, after=0 if which.after is None else which.after, before=which.before, **which.filters
        ):
            # Who did not say from where wants what there is: that its beginning is no longer kept, is no surprise.
            is_expected = is_first and which.after is None and isinstance(item, Gap) and item.reason == "trimmed"
            is_first = False
            if not is_expected:
                yield item

    async def _newest(self, count: int) -> AsyncIterator[Message | Gap]:
        which = self._which
        pages: list[Sequence[Message]] = []
        before: int | str | None = which.before
        while count > 0:
            page = await self._source.history(
                which.room, before=before, limit=min(count, PAGE_MESSAGES), **which.filters
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
    """Prints messages in a form; tells of gaps on stderr."""

    def __init__(self, form: str) -> None:
        from chatkit.cli.formats import WRITERS
        from chatkit.cli.sanitize import visible

        self.has_gap = False
        self._form = form
        self._write = WRITERS[form]
        self._safe = visible if form == "csv" and sys.stdout.isatty() else str

    def begin(self) -> None:
        """Print what stands above the first message."""
        from chatkit.cli.formats import csv_header

        if self._form == "json":
            begin_json()
        elif self._form != "text":
            begin_export()
        if self._form == "csv":
            sys.stdout.write(f"{csv_header()}\n")

    def print(self, item: Message | Gap) -> None:
        """Print a message; say what is missing."""
        from chatkit.cli.formats import gap_sentence, json_line

        if isinstance(item, Message):
            sys.stdout.write(f"{self._safe(self._write(item))}\n")
            return
        self.has_gap = True
        if self._form == "json":
            sys.stdout.write(f"{json_line(item)}\n")
        self.flush()  # so that the sentence stands where the messages are missing
        say(gap_sentence(item))

    def flush(self) -> None:
        """Have what is printed seen."""
        sys.stdout.flush()
