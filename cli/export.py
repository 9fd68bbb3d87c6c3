"""`chatkit export`: write rooms as JSON lines, from a server or from a store."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, ServerURL, Token, complete_room, room_name
from chatkit.cli.output import begin_json, needs_reader, print_notice
from chatkit.cli.progress import ProgressLine
from chatkit.cli.target import Target
from chatkit.core.model import Cursor
from chatkit.errors import ChatkitError, NotFound

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client, HistoryResult
    from chatkit.wire.http import RoomView

PAGE_MESSAGES = 1_000  # the largest page of a server

EPILOG = """
chatkit export > rooms.jsonl

chatkit export ops deploys | gzip > ops.jsonl.gz

chatkit export --backend sqlite:///rooms.db | chatkit import - --backend postgresql://localhost/chat
"""


class ExportInterrupted(ChatkitError):
    """A room changed while it was exported, so that messages are missing in the file."""

    code = "export-interrupted"


class ExportSummary(msgspec.Struct, frozen=True):
    """What was exported."""

    rooms: int
    messages: int
    seconds: float


def export(
    ctx: typer.Context,
    room: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROOM",
            help="Export these rooms; without any, all rooms.",
            show_default=False,
            autocompletion=complete_room,
        ),
    ] = None,
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print a summary as JSON, on standard error after the export.")
    ] = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Write rooms to standard output, as JSON lines that 'chatkit import' reads.

    The file holds the settings and all stored messages of the rooms, with their numbers, times, senders, data and keys.
    It holds no tokens, bans and secrets; 'chatkit backup' copies these, too.

    Messages that are published after the start are not exported. If the command is interrupted, the file has no last
    line that says 'end', and can be imported up to that point.
    """
    with report_errors(with_next_step if backend is None else str):  # a store asks for no token
        import asyncio

        rooms = [room_name(name) for name in room or ()]
        begin_json()
        progress = ProgressLine()
        try:
            with needs_reader():
                exporter = Exporter(progress)
                asyncio.run(exporter.run(Target(ctx, server, backend, None, token), rooms))
                sys.stdout.flush()
        finally:
            progress.clear()
        _print_summary(exporter.summary(), json=json)


def _print_summary(summary: ExportSummary, *, json: bool) -> None:
    if json:
        sys.stderr.write(f"{msgspec.json.encode(summary).decode()}\n")
    elif sys.stderr.isatty():
        print_notice(f"exported {summary.messages:,} messages of {summary.rooms:,} rooms in {summary.seconds:.1f} s")


class Exporter:
    """Writes rooms to standard output, page by page."""

    def __init__(self, progress: ProgressLine) -> None:
        self._progress = progress
        self._n_rooms = 0
        self._n_messages = 0
        self._n_expected = 0

    def summary(self) -> ExportSummary:
        """Return what has been exported."""
        return ExportSummary(self._n_rooms, self._n_messages, round(self._progress.elapsed_s, 3))

    async def run(self, target: Target, names: Sequence[str]) -> None:
        """Export the named rooms, or all rooms except those of the server itself."""
        from chatkit.cli.export_format import ExportEnd, ExportHeader, format_line

        async with target.open() as source:
            views = await _choose(source, names)
            self._n_expected = sum(view.last - view.first + 1 for view in views)
            sys.stdout.write(f"{format_line(ExportHeader())}\n")
            for view in views:
                await self._export_room(source, view.room)
            sys.stdout.write(f"{format_line(ExportEnd(self._n_rooms, self._n_messages))}\n")

    async def _export_room(self, source: "Client | StoreClient", name: str) -> None:
        from chatkit.cli.export_format import ExportedRoom, format_line
        from chatkit.cli.formats import json_line

        view = await source.room(name)  # the list has no settings
        page = await read_page(source, view, 0)
        first = page.messages[0].seq if page.messages else view.last + 1
        settings = (view.topic, view.keep, view.keep_for_s, view.archived)
        sys.stdout.write(f"{format_line(ExportedRoom(name, first, view.last, *settings))}\n")
        self._n_rooms += 1
        while page.messages:
            sys.stdout.write("".join(f"{json_line(message)}\n" for message in page.messages))
            self._n_messages += len(page.messages)
            self._progress.show(name, self._n_messages, self._n_messages / max(self._n_expected, 1))
            if page.messages[-1].seq == view.last:
                break
            page = await read_page(source, view, page.messages[-1].cursor)


async def _choose(source: "Client | StoreClient", names: Sequence[str]) -> list["RoomView"]:
    from chatkit.core.access import is_system_room

    listed = {view.room: view for view in await source.rooms()}
    if missing := [name for name in names if name not in listed]:
        raise NotFound(f"there is no room {missing[0]!r}")
    return [listed[name] for name in dict.fromkeys(names) or listed if not is_system_room(name)]


async def read_page(source: "Client | StoreClient", view: "RoomView", after: Cursor | int) -> "HistoryResult":
    """Return the next page of a room. Raise `ExportInterrupted` if messages after the cursor are missing."""
    page = await source.history(view.room, after=after, before=view.last + 1, limit=PAGE_MESSAGES, raw=True)
    if page.cursor.epoch != Cursor.parse(view.cursor).epoch:
        raise ExportInterrupted(f"the room {view.room} was deleted or began again during the export: run it again")
    if isinstance(after, Cursor) and (not page.messages or page.messages[0].seq != after.seq + 1):
        raise ExportInterrupted(
            f"messages of the room {view.room} after number {after.seq} were deleted during the export: run it again"
        )
    return page
