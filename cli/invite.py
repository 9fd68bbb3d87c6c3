"""`chatkit invite`: make a link with which people join."""

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from chatkit.cli.administration import administering, print_json, printing_secret
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.grants import Read, Write, read_grants, shown_grants
from chatkit.cli.links import invite_link, page_of
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, ServerURL, Token, check_server, checked
from chatkit.cli.output import can_print, print_lines, print_notice
from chatkit.cli.qr_code import CHARACTERS, qr_lines
from chatkit.cli.target import Target
from chatkit.cli.times import read_end_ms, shown_time

if TYPE_CHECKING:
    from chatkit.wire.access import NewTokenView

EPILOG = """
chatkit invite --read ops --write ops

chatkit invite --read '*' --uses 20 --expires 30d

chatkit invite --read ops --backend sqlite:///rooms.db --url https://chat.example.org
"""

DEFAULT_EXPIRY = "7d"  # a link stays in mail boxes and chats


def invite(
    ctx: typer.Context,
    *,
    read: Read = None,
    write: Write = None,
    uses: Annotated[int, typer.Option(metavar="N", min=1, help="Let this many people join with the link.")] = 1,
    expires: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            parser=checked(read_end_ms),
            help="End it after this long, such as 30d, or at a date or an RFC 3339 time.",
        ),
    ] = DEFAULT_EXPIRY,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            parser=checked(check_server),
            help="Make a link to this address of the server, as others reach it.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Make a link with which people join, and print it, on a terminal also as a QR code.

    Each person who opens the link chooses a free name, and gets a token with the rights of the invite. To end an invite
    early, revoke it: 'chatkit token list' shows its id.
    """
    with report_errors():
        from chatkit.client.endpoint import Endpoint

        grants = read_grants(read, write)
        expires_ms = read_end_ms(expires)
        target = Target(ctx, server, backend, None, token)
        page = page_of(ctx, target, url) or Endpoint.parse(DEFAULT_SERVER)
        with administering(target, make=True) as administrator:
            made = administrator.make_invite(grants, uses=uses, expires_ms=expires_ms)
        link = invite_link(page, made.secret)
        with printing_secret():
            if json:
                print_json(msgspec.structs.replace(made, url=link))
            else:
                print_invite(made, link)
        if page.is_loopback:
            print_notice("only this machine can open the link: give the address that others use with --url")


def print_invite(made: "NewTokenView", link: str) -> None:
    """Print the link of an invite; on a terminal, also as a QR code and with what it gives."""
    if not sys.stdout.isatty():
        sys.stdout.write(f"{link}\n")
        return
    code = qr_lines(link, shutil.get_terminal_size().columns, color=_has_colors()) if can_print(CHARACTERS) else []
    print_lines((*code, link))
    sys.stdout.flush()
    people = "one person" if made.uses_left == 1 else f"{made.uses_left} people"
    print_notice(f"for {people}, until {shown_time(made.expires)}, with the rights {shown_grants(made.grants)}")
    print_notice(f"to end it early: chatkit token revoke {made.id}")


def _has_colors() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
