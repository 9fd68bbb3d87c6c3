"""`chatkit ban`: keep a name or a network out, or mute it."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from chatkit.cli.administration import administering, complete_ban, print_json
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, ServerURL, Token, checked, complete_room, room_name
from chatkit.cli.output import print_notice
from chatkit.cli.table import print_table
from chatkit.cli.target import Target
from chatkit.cli.times import is_over, read_end_ms, shown_time
from chatkit.core.access import ALL_ROOMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatkit.wire.access import BanView

HELP = "Ban or mute a name or a network, in one room or in all."


def add(
    ctx: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NAME|NETWORK",
            help="A name, with all that look like it, an IP address, or a network such as 192.0.2.0/24.",
            show_default=False,
        ),
    ],
    *,
    room: Annotated[
        str | None,
        typer.Option(metavar="ROOM", help="Ban only in this room.", show_default=False, autocompletion=complete_room),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=checked(read_end_ms),
            help="End it after this long, such as 2h or 30d, or at a date or an RFC 3339 time.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Tell the banned person this reason.", show_default=False),
    ] = "",
    mute: Annotated[bool, typer.Option("--mute", help="Forbid only writing, and allow reading.")] = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Ban a name or a network. Its connections are closed within seconds.

    Ban a network if a person comes back under other names.
    """
    with report_errors():
        where = ALL_ROOMS if room in {None, ALL_ROOMS} else room_name(room or "")
        until_ms = read_end_ms(until)
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            view = administrator.ban(subject, room=where, until_ms=until_ms, reason=reason, is_mute=mute)
        if json:
            print_json(view)
            return
        end = "" if view.until is None else f" until {shown_time(view.until)}"
        verb = "muted" if view.mute else "banned"
        print_notice(f"{verb} the {view.kind} {view.subject} in {_where(view)}{end}")
        print_notice(f"to lift it: chatkit ban remove {view.id}")


def list_(
    ctx: typer.Context,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """List the bans of the rooms that you moderate, the oldest first."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            views = administrator.bans()
        if json:
            print_json(*views)
        else:
            _print_list(views)


def remove(
    ctx: typer.Context,
    ban_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="The id of the ban.", show_default=False, autocompletion=complete_ban),
    ],
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Remove a ban."""
    with report_errors():
        look = "'chatkit ban list' shows the ids"
        with administering(Target(ctx, server, backend, None, token), look=look) as administrator:
            view = administrator.unban(ban_id)
        if json:
            print_json(view)
        else:
            print_notice(f"removed the ban of the {view.kind} {view.subject} in {_where(view)}")


def _print_list(views: "Sequence[BanView]") -> None:
    head = ("ID", "SUBJECT", "ROOM", "KIND", "UNTIL", "BY", "REASON")
    rows = [
        (
            view.id,
            view.subject,
            view.room,
            "mute" if view.mute else "ban",
            _end(view.until),
            view.made_by,
            view.reason,
        )
        for view in views
    ]
    print_table(head, rows, "there are no bans")


def _end(until: str | None) -> str:
    if until is None:
        return "never"
    return "ended" if is_over(until) else shown_time(until)


def _where(view: "BanView") -> str:
    return "all rooms" if view.room == ALL_ROOMS else view.room


ADD_EXAMPLES = """
chatkit ban add bob --room ops --for 2h --reason 'off topic'

chatkit ban add 192.0.2.7 --for 7d

chatkit ban add bob --mute
"""

COMMANDS: Final = (
    (add, ADD_EXAMPLES),
    (list_, "chatkit ban list"),
    (remove, "chatkit ban remove k3f9x2m4qa"),
)
