"""`chatkit room`: show, change, rename and delete a room."""

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chatkit.cli.administration import LOOK_FOR_ROOMS, Yes, administering, print_json
from chatkit.cli.confirm import confirm
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import (
    DEFAULT_SERVER,
    BackendURL,
    Json,
    RoomName,
    ServerURL,
    Token,
    checked,
    readable_room,
    room_name,
)
from chatkit.cli.output import print_lines, print_notice
from chatkit.cli.rooms import print_rooms, room_facts
from chatkit.cli.table import facts
from chatkit.cli.target import Target
from chatkit.cli.times import read_duration
from chatkit.errors import BadRequest, RoomRenamed

if TYPE_CHECKING:
    from msgspec import UnsetType

    from chatkit.cli.store_administration import StoreAdministration
    from chatkit.client.admin import AdminClient
    from chatkit.wire.access import RoomSettingsChange
    from chatkit.wire.http import RoomView

HELP = "Change the topic of a room and what it keeps; archive, rename or delete it."
SERVERS_SETTING: Final = "default"


def _read_keep_for(text: str) -> "int | UnsetType | None":
    return None if text == SERVERS_SETTING else round(read_duration(text).total_seconds())


def show(
    ctx: typer.Context,
    room: RoomName,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Show a room with its settings and members, as 'chatkit rooms ROOM' does."""
    with report_errors(with_next_step):
        print_rooms(Target(ctx, server, backend, None, token), readable_room(room), json=json)


def set_(
    ctx: typer.Context,
    room: RoomName,
    *,
    topic: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Show this topic. '' removes it.", show_default=False)
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Keep the newest N messages; 'default' follows the server's --keep.", show_default=False
        ),
    ] = None,
    keep_for: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            parser=checked(_read_keep_for),
            help="Keep messages for this long, such as 30d; 'default' follows the server's --keep-for.",
            show_default=False,
        ),
    ] = None,
    archive: Annotated[
        bool | None,
        typer.Option("--archive/--no-archive", help="Make the room read-only, or writable again.", show_default=False),
    ] = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Change the settings of a room, and print the room. Settings that are not given stay."""
    with report_errors():
        name = room_name(room)
        change = _read_change(topic, keep, keep_for, archive)
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_ROOMS) as administrator:
            view = administrator.set_room(name, change)
        if json:
            print_json(view)
        else:
            print_lines(facts(room_facts(view, view.members)))


def delete(
    ctx: typer.Context,
    room: RoomName,
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Delete a room with all of its messages and its settings. This cannot be undone.

    To keep the messages and end the writing, use 'chatkit room set ROOM --archive'.
    """
    with report_errors():
        name = room_name(room)
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_ROOMS) as administrator:
            view = _find(administrator, name)
            if view is None:
                question = f"The room {name} was renamed. Free its old name?"
            else:
                count = view.last - view.first + 1
                messages = "its message" if count == 1 else f"its {count} messages"
                question = f"Delete the room {name} and {messages} for good?"
            confirm(question, yes=yes)
            administrator.delete_room(name)
        if json:
            print_json(*([] if view is None else [view]))
        else:
            print_notice(f"deleted the room {name}")


def _find(administrator: "AdminClient | StoreAdministration", name: str) -> "RoomView | None":
    """Return the room, or None if its name refers to another one."""
    try:
        return administrator.room(name)
    except RoomRenamed:
        return None


def rename(
    ctx: typer.Context,
    room: RoomName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.", show_default=False)],
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Give a room with its messages, settings and bans another name. Its readers follow.

    The old name then refers to the new one, until 'chatkit room delete' frees it.
    """
    with report_errors():
        name, new_name = room_name(room), room_name(new)
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_ROOMS) as administrator:
            confirm(f"Rename the room {name} to {new_name}?", yes=yes)
            view = administrator.rename_room(name, new_name)
        if json:
            print_json(view)
        else:
            print_notice(f"renamed the room {name} to {new_name}")


def _read_change(
    topic: str | None, keep: str | None, keep_for: str | None, archive: bool | None
) -> "RoomSettingsChange":
    from msgspec import UNSET

    from chatkit.wire.access import RoomSettingsChange

    if topic is None and keep is None and keep_for is None and archive is None:
        raise BadRequest("nothing to set: give --topic, --keep, --keep-for, --archive or --no-archive")
    return RoomSettingsChange(
        UNSET if topic is None else topic,
        UNSET if keep is None else _read_keep(keep),
        UNSET if keep_for is None else _read_keep_for(keep_for),
        UNSET if archive is None else archive,
    )


def _read_keep(text: str) -> "int | UnsetType | None":
    if text == SERVERS_SETTING:
        return None
    if not re.fullmatch("0*[1-9][0-9]{0,14}", text):
        raise BadRequest(f"--keep is a number of messages, at least 1, or {SERVERS_SETTING!r}, not {text[:80]!r}")
    return int(text)


SET_EXAMPLES = """
chatkit room set ops --topic 'Deployments, week 48' --keep-for 30d

chatkit room set ops --archive

chatkit room set ops --keep default
"""

COMMANDS: Final = (
    (show, "chatkit room show ops"),
    (set_, SET_EXAMPLES),
    (rename, "chatkit room rename ops operations"),
    (delete, "chatkit room delete old-project"),
)
