"""`chatkit join`: chat in a room, in the terminal or through a pipe."""

from typing import Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, RoomName, SenderName, ServerURL, Token, room_name
from chatkit.cli.target import Target
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
    history: Annotated[int, typer.Option(min=0, metavar="N", help="Show this many past messages first.")] = 10,
    server: ServerURL = DEFAULT_SERVER,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Join a room and chat. Type /help there for the keys and commands.

    In a pipe, each line of standard input is published, and the room's messages are printed. The command ends when the
    input has ended and all its lines are stored. If messages are missing, the exit code is 5.
    """
    with report_errors(with_next_step):
        import asyncio

        from chatkit.cli.chat.run import run_chat

        target = Target(ctx, server, None, name, token)
        if asyncio.run(run_chat(target, room_name(room), history)):
            raise typer.Exit(ExitCode.MESSAGES_MISSING)
