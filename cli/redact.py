"""`chatkit redact`: remove the text of a message for good."""

import typer

from chatkit.cli.administration import Yes, administering, print_json
from chatkit.cli.confirm import confirm
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import look_for_numbers
from chatkit.cli.options import (
    DEFAULT_SERVER,
    BackendURL,
    Json,
    RoomName,
    SenderName,
    Seq,
    ServerURL,
    Token,
    room_name,
)
from chatkit.cli.output import print_notice
from chatkit.cli.target import Target
from chatkit.core.model import Message
from chatkit.errors import NotFound

EPILOG = """
chatkit redact ops 42

chatkit redact ops 42 --yes --backend sqlite:///rooms.db
"""

SHOWN_CHARS = 60  # of a text, to recognize it


def redact(
    ctx: typer.Context,
    room: RoomName,
    seq: Seq,
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Remove the text and the data of a message for good, from the store and from the screens of all readers.

    The number, the sender and the time of the message stay. 'chatkit history ROOM' shows the numbers on a terminal.
    """
    with report_errors():
        room = room_name(room)
        with administering(Target(ctx, server, backend, name, token), look=look_for_numbers(room)) as administrator:
            if not yes:
                message = administrator.message(room, seq)
                if message is None or message.act is None:  # to redact a change is refused
                    confirm(_question(message, room, seq), yes=yes)
            redacted = administrator.redact(room, seq)
        if json:
            print_json(redacted)
        else:
            print_notice(f"redacted message {seq} of {redacted.sender} in {room}")


def _question(message: Message | None, room: str, seq: int) -> str:
    if message is None:
        raise NotFound(f"there is no message {seq} in the room {room}")
    text = message.body if len(message.body) <= SHOWN_CHARS else f"{message.body[:SHOWN_CHARS]}…"
    return f"Redact message {seq} of {message.sender} in {room} for good: {text}?"
