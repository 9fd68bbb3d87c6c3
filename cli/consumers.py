"""`chatkit consumers`: list, show, move and delete consumers."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chatkit.cli.administration import LOOK_FOR_ROOMS, Yes, administering, print_json
from chatkit.cli.confirm import confirm
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.help import HelpGroup
from chatkit.cli.options import (
    DEFAULT_SERVER,
    BackendURL,
    Json,
    RoomName,
    ServerURL,
    Token,
    check_place,
    checked,
    complete_room,
    complete_words,
    is_room,
    readable_room,
    room_name,
)
from chatkit.cli.output import print_lines, print_notice
from chatkit.cli.table import facts, print_table
from chatkit.cli.target import Target

if TYPE_CHECKING:
    from chatkit.wire.consumers import ConsumerView

HELP = "List the consumers of all rooms or of ROOM: programs whose place the server keeps. Move or delete them."
LOOK_FOR_CONSUMERS: Final = f"'chatkit consumers list' lists the consumers, {LOOK_FOR_ROOMS}"
HEAD: Final = ("ROOM", "NAME", "LAG", "LEASED", "WAITING", "FAILED", "OWNER")
LIST: Final = "list"


def complete_consumer(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the server's consumers that begin with `incomplete`."""
    room = str(ctx.params.get("room") or "").removeprefix("#")
    return complete_words(
        ctx, incomplete, lambda client: [view.name for view in client.consumers(room) if is_room(view.name)]
    )


ConsumerName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The name of the consumer.", show_default=False, autocompletion=complete_consumer
    ),
]


class ConsumersGroup(HelpGroup):
    """The commands. `chatkit consumers [ROOM]` is `chatkit consumers list [ROOM]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; without the name of a command, they are those of `list`."""
        is_command = bool(args) and args[0] in {*self.commands, "-h", "--help"}
        if not is_command and not ctx.resilient_parsing:
            args = [LIST, *args]
        return super().parse_args(ctx, args)


def list_(
    ctx: typer.Context,
    room: Annotated[
        str | None,
        typer.Argument(
            metavar="ROOM", help="List those of this room.", show_default=False, autocompletion=complete_room
        ),
    ] = None,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """List the consumers of all rooms, or of one. This is also 'chatkit consumers [ROOM]'.

    LAG is the number of messages that are not handled yet, of which LEASED are being handled, and WAITING have failed
    and come again. FAILED is the number of messages that were given up; they are reported in the room ROOM.failed.
    """
    with report_errors():
        name = None if room is None else readable_room(room)
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_ROOMS) as administrator:
            views = administrator.consumers(name)
        if json:
            print_json(*views)
            return
        rows = [
            (view.room, view.name, *map(str, (view.lag, view.leased, view.waiting, view.failed)), view.owner)
            for view in views
        ]
        where = "" if name is None else f" in {name}"
        make = f"make one with: chatkit on {name or 'ROOM'} --as NAME -- COMMAND"
        print_table(HEAD, rows, f"there are no consumers{where} yet; {make}")


def show(
    ctx: typer.Context,
    room: RoomName,
    name: ConsumerName,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Show a consumer."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_CONSUMERS) as administrator:
            view = administrator.consumer(readable_room(room), name)
        _print(view, json=json)


def seek(
    ctx: typer.Context,
    room: RoomName,
    name: ConsumerName,
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE",
            parser=checked(check_place),
            help="start, end, or a cursor, behind which the next message is.",
            show_default=False,
        ),
    ],
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Move a consumer. What its workers hold is taken from them, and what they have begun may come again.

    'chatkit rooms ROOM --json' and 'chatkit consumers show' print cursors. The number behind the colon is that of a
    message.
    """
    with report_errors():
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_CONSUMERS) as administrator:
            administrator.consumer(room_name(room), name)  # it is not made
            view = administrator.put_consumer(room_name(room), name, after=place)
        _print(view, json=json)


def delete(
    ctx: typer.Context,
    room: RoomName,
    name: ConsumerName,
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Delete a consumer. Its place is forgotten; the messages stay."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token), look=LOOK_FOR_CONSUMERS) as administrator:
            view = administrator.consumer(room_name(room), name)
            confirm(f"Delete the consumer {view.name} of {view.room}, and forget its place?", yes=yes)
            administrator.delete_consumer(room_name(room), name)
        if json:
            print_json(view)
        else:
            print_notice(f"deleted the consumer {name} of {view.room}")


def _print(view: "ConsumerView", *, json: bool) -> None:
    if json:
        print_json(view)
        return
    print_lines(
        facts(
            [
                ("consumer", view.name),
                ("room", view.room),
                ("owner", view.owner),
                ("cursor", view.cursor),
                ("lag", str(view.lag)),
                ("leased", str(view.leased)),
                ("waiting", str(view.waiting)),
                ("failed", f"{view.failed}{f', in the room {view.room}.failed' if view.failed else ''}"),
                ("missed", f"{view.missed}, removed before they were handled" if view.missed else "0"),
                ("retries", str(view.retries)),
                ("ordered", "yes" if view.ordered else "no"),
            ]
        )
    )


COMMANDS: Final = (
    (list_, "chatkit consumers list ops --json"),
    (show, "chatkit consumers show ops deployer"),
    (seek, "chatkit consumers seek ops deployer end"),
    (delete, "chatkit consumers delete ops deployer"),
)
