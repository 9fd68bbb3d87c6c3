"""`chatkit unread`: count what you have not read, and mark rooms as read."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import (
    DEFAULT_SERVER,
    BackendURL,
    Json,
    SenderName,
    ServerURL,
    Token,
    complete_room,
    message_seq,
    room_name,
)
from chatkit.cli.output import begin_json, needs_reader, print_lines, print_notice
from chatkit.cli.table import print_table
from chatkit.cli.target import Target
from chatkit.errors import BadRequest

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client
    from chatkit.core.reading import RoomUnread
    from chatkit.wire.protocol import WireUnread

COUNTED = 1_000  # counting stops there

EPILOG = """
chatkit unread

chatkit unread ops --mark-read

chatkit unread ops --mark-read --up-to 42

chatkit unread --json --token "$TOKEN"
"""


def unread(
    ctx: typer.Context,
    room: Annotated[
        list[str] | None,
        typer.Argument(metavar="ROOM", help="Show only these rooms.", show_default=False, autocompletion=complete_room),
    ] = None,
    *,
    mark_read: Annotated[
        bool,
        typer.Option("--mark-read", help="Note that you have read the rooms; without a ROOM, all that would be shown."),
    ] = False,
    up_to: Annotated[
        int | None,
        typer.Option(
            metavar="SEQ", parser=message_seq, help="With --mark-read: up to this message, not to the newest."
        ),
    ] = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Show in which rooms you have unread messages or mentions, or mark rooms as read.

    A room counts from when you first mark it as read, here or in the browser page, or somebody mentions you in it. What
    you have read is kept for the name of your token; on a server without tokens, for your sender name.
    """
    with report_errors(with_next_step):
        import asyncio

        if up_to is not None and not (mark_read and room and len(room) == 1):
            raise BadRequest("--up-to is a number of one room: give a ROOM and --mark-read")
        rooms = [room_name(each) for each in room or ()]
        target = Target(ctx, server, backend, name, token)
        if json:
            begin_json()
        run = mark_rooms(target, rooms, up_to, json=json) if mark_read else print_unread(target, rooms, json=json)
        asyncio.run(run)


async def print_unread(target: Target, rooms: Sequence[str], *, json: bool) -> None:
    """Print what is unread in these rooms, or in all."""
    from chatkit.cli.formats import wire_json

    async with target.open() as source:
        views = await _read(source, rooms)
    if json:
        print_lines(map(wire_json, views))
        return
    shown = [view for view in views if rooms or view.unread or view.mentions]
    lines = [(view.room, _count(view.unread), _count(view.mentions), str(view.marker)) for view in shown]
    print_table(("ROOM", "UNREAD", "MENTIONS", "READ UP TO"), lines, _nothing(rooms))


def _nothing(rooms: Sequence[str]) -> str:
    if not rooms:
        return "nothing is unread"
    return f"you have not marked {rooms[0]} as read yet, which starts the count: chatkit unread {rooms[0]} --mark-read"


async def mark_rooms(target: Target, rooms: Sequence[str], up_to: int | None, *, json: bool) -> None:
    """Mark these rooms as read, or all that have unread messages, and print up to where."""
    from chatkit.cli.formats import wire_json
    from chatkit.core.model import MAX_SEQ
    from chatkit.wire.http import MarkerView

    async with target.open() as source:
        chosen = rooms or [view.room for view in await _read(source, ()) if view.unread or view.mentions]
        for room in chosen:
            marker = await source.mark(room, MAX_SEQ if up_to is None else up_to)
            if json:
                with needs_reader():  # the rooms that follow are not marked
                    print_lines([wire_json(MarkerView(room, marker))])
                    sys.stdout.flush()
            else:
                print_notice(f"you have read {room} up to message {marker}")
    if not chosen and not json:
        print_notice("nothing is unread")


async def _read(source: "Client | StoreClient", rooms: Sequence[str]) -> "list[WireUnread]":
    from chatkit.wire.protocol import WireUnread

    found: Sequence[RoomUnread] = await source.unread()
    return [WireUnread.of(each) for each in found if not rooms or each.room in rooms]


def _count(count: int) -> str:
    return f"{COUNTED:,}+" if count >= COUNTED else str(count)
