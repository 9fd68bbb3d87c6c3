"""`chatkit rooms`: list the rooms, or show one room and its members."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.marks import member_of, printable_marks
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, ServerURL, Token, complete_room, readable_room
from chatkit.cli.output import begin_json, print_lines
from chatkit.cli.table import facts, print_table
from chatkit.cli.target import Target
from chatkit.cli.times import shown_duration, shown_time

if TYPE_CHECKING:
    from chatkit.core.model import Member
    from chatkit.wire.http import RoomView

EPILOG = """
chatkit rooms

chatkit rooms ops --json

chatkit rooms --backend sqlite:///rooms.db
"""


def rooms(
    ctx: typer.Context,
    room: Annotated[
        str | None,
        typer.Argument(
            metavar="ROOM", help="Show this room and its members.", show_default=False, autocompletion=complete_room
        ),
    ] = None,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """List the rooms, or show one room and its members."""
    with report_errors(with_next_step):
        print_rooms(Target(ctx, server, backend, None, token), None if room is None else readable_room(room), json=json)


def print_rooms(target: Target, room: str | None, *, json: bool) -> None:
    """Print all rooms, or one room and its members."""
    import asyncio

    if json:
        begin_json()
    if room is None:
        asyncio.run(print_list(target, json=json))
    else:
        print_lines(asyncio.run(show_room(target, room, json=json)))


async def print_list(target: Target, *, json: bool) -> None:
    """Print the list of rooms."""
    from chatkit.cli.formats import wire_json

    async with target.open() as source:
        views = await source.rooms()
    if json:
        print_lines(wire_json(view) for view in views)
        return
    rows = [(view.room, str(view.last - view.first + 1), str(view.members), shown_time(view.time)) for view in views]
    nothing = "there are no rooms yet; create one with: chatkit publish ROOM TEXT"
    print_table(("ROOM", "MESSAGES", "HERE", "LAST"), rows, nothing)


async def show_room(target: Target, room: str, *, json: bool) -> Sequence[str]:
    """Return the description of one room as lines."""
    import msgspec

    from chatkit.cli.formats import wire_json
    from chatkit.wire.protocol import wire_members

    async with target.open() as source:
        view = await source.room(room)
        members = await source.members(room)
    if json:
        return [wire_json({**msgspec.to_builtins(view), "members": wire_members(members)})]
    return [*facts(room_facts(view, len(members))), *_member_lines(view, members)]


def room_facts(view: "RoomView", listed: int) -> list[tuple[str, str]]:
    """Return what is known of a room, of which `listed` members are listed."""
    kept = [str(view.keep)] if view.keep is not None else []
    kept += [shown_duration(view.keep_for_s)] if view.keep_for_s is not None else []
    settings = [("topic", view.topic), ("keeps", ", ".join(kept)), ("archived", "yes" if view.archived else "")]
    return [
        ("room", view.room),
        *((name, value) for name, value in settings if value),
        ("messages", f"{view.first} to {view.last}" if view.last >= view.first else "none"),
        ("last", shown_time(view.time) or "never"),
        ("here", str(max(view.members, listed))),
    ]


def _member_lines(view: "RoomView", members: "Sequence[Member]") -> list[str]:
    indent = " " * len("messages  ")  # below the values
    marks = printable_marks()
    lines = [f"{member_of(member, marks)}, since {shown_time(member.since)}" for member in members]
    if view.members > len(members):
        lines.append(f"and {view.members - len(members)} more")
    return [f"{indent}{line}" for line in lines]
