"""Grants as people type them (`--read ROOM`, `--write ROOM`) and read them (`ops*:read,write`)."""

from collections.abc import Iterable
from typing import Annotated

import typer

from chatkit.cli.options import complete_room
from chatkit.core.access import ALL_ROOMS, Grant, Right, check_grants
from chatkit.errors import BadRequest

Rooms = list[str] | None

Read = Annotated[
    Rooms,
    typer.Option(
        "--read",
        metavar="ROOM",
        help="Allow reading this room, the rooms that begin like 'ops*', or all rooms ('*'). May be given again.",
        show_default=False,
        autocompletion=complete_room,
    ),
]
Write = Annotated[
    Rooms,
    typer.Option(
        "--write",
        metavar="ROOM",
        help="Allow writing to this room, without reading it. May be given again.",
        show_default=False,
        autocompletion=complete_room,
    ),
]
Moderate = Annotated[
    Rooms,
    typer.Option(
        "--moderate",
        metavar="ROOM",
        help="Allow reading, writing, redacting and banning in this room. May be given again.",
        show_default=False,
        autocompletion=complete_room,
    ),
]


def read_grants(
    read: Rooms = None, write: Rooms = None, moderate: Rooms = None, *, admin: bool = False
) -> tuple[Grant, ...]:
    """Return the grants that the options give, one for each pattern. Raise `BadRequest` without any option."""
    rights: dict[str, list[Right]] = {}
    for right, patterns in ((Right.READ, read), (Right.WRITE, write), (Right.MODERATE, moderate)):
        for pattern in patterns or ():
            rights.setdefault(pattern.removeprefix("#"), []).append(right)
    if admin:
        rights.setdefault(ALL_ROOMS, []).append(Right.ADMIN)
    if not rights:
        raise BadRequest("no rights are given: name rooms, for example --read ops --write ops, or --read '*' for all")
    return check_grants(Grant(pattern, tuple(given)) for pattern, given in rights.items())


def shown_grants(grants: Iterable[Grant]) -> str:
    """Return grants in the notation of `serve --open`."""
    return " ".join(f"{grant.rooms}:{','.join(grant.rights)}" for grant in grants)
