"""`chatkit join`: a room in the terminal, or in a pipe."""

from typing import Annotated

import typer

from chatkit.cli.exit_codes import exits
from chatkit.cli.options import DEFAULT_SERVER, RoomName, SenderName, ServerURL, Target, Token, room_name
from chatkit.wire.codes import ExitCode

EPILOG = """
chatkit join ops

chatkit join ops --name ann --history 50

tail -F app.log | chatkit join logs
"""


def join(
    ctx: typer.Context,
    room: RoomName,
    *,
    history: Annotated[int, typer.Option(min=0, metavar="N", help="Past messages to begin with.")] = 10,
    server: ServerURL = DEFAULT_SERVER,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Join a room: messages above, your typing below. /help says what else.

    In a pipe, each line of standard input is published and what is said in the room is printed; when the input ends and
    everything is stored, so does the command.
    """
    with exits():
        import asyncio

        from chatkit.cli.chat import converse

        place = Target(ctx, server, None, name, token)
        if asyncio.run(converse(place, room_name(room), history)):
            raise typer.Exit(ExitCode.MESSAGES_MISSING)
