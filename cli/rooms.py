"""`chatkit rooms`: list the rooms, or show one room and its members."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, ServerURL, Token, complete_room, room_name
from chatkit.cli.output import begin_json
from chatkit.cli.sanitize import escaped, one_line
from chatkit.cli.target import Target

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
    with report_errors():
        import asyncio

        if json:
            begin_json()
        target = Target(ctx, server, backend, None, token)
        lines = show_rooms(target, json=json) if room is None else show_room(target, room_name(room), json=json)
        for line in asyncio.run(lines):
            sys.stdout.write(f"{line}\n")


async def show_rooms(target: Target, *, json: bool) -> Sequence[str]:
    """Return the list of rooms as lines."""
    from chatkit.wire.protocol import encode

    async with target.open() as source:
        views = await source.rooms()
    if json:
        return [escaped(encode(view).decode()) for view in views]
    rows = [(view.room, str(view.last - view.first + 1), str(view.members), _when(view.time)) for view in views]
    return (
        table(("ROOM", "MESSAGES", "HERE", "LAST"), rows)
        if rows
        else ["There are no rooms yet. Create one with: chatkit publish ROOM TEXT"]
    )


async def show_room(target: Target, room: str, *, json: bool) -> Sequence[str]:
    """Return the description of one room as lines."""
    from chatkit.wire.protocol import encode, wire_members

    async with target.open() as source:
        view = await source.room(room)
        members = await source.members(room)
    if json:
        whole = {**_fields(view), "members": wire_members(members)}
        return [escaped(encode(whole).decode())]
    stored = f"{view.first} to {view.last}" if view.last >= view.first else "none"
    facts = [
        ("room", view.room),
        ("messages", stored),
        ("last", _when(view.time) or "never"),
        ("here", str(max(view.members, len(members)))),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name:<{width}}  {one_line(value)}" for name, value in facts]
    named = [f"{one_line(member.name)}, since {_when(member.since)}" for member in members]
    more = [f"and {view.members - len(members)} more"] if view.members > len(members) else []
    return [*lines, *(f"{'':<{width}}  {line}" for line in (*named, *more))]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns. Wide characters are counted as a terminal shows them."""
    from rich.cells import cell_len

    plain = [head, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*plain, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in plain
    ]


def _fields(view: object) -> dict[str, object]:
    import msgspec

    fields = msgspec.structs.asdict(view)  # type: ignore[arg-type]  # a RoomView, whose module is loaded only when the command runs
    return {name: value for name, value in fields.items() if value is not None}


def _when(time: str | None) -> str:
    return "" if time is None else datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
