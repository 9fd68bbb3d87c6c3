"""`chatkit reply`, `edit` and `react`: publish what refers to an earlier message."""

import re
import sys
from contextlib import AbstractContextManager
from typing import Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import look_for_numbers, with_next_step
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, RoomName, SenderName, Seq, ServerURL, Token, room_name
from chatkit.cli.output import begin_json, print_notice
from chatkit.cli.publish import join_words, print_stored, publish_one, read_whole
from chatkit.cli.target import Target
from chatkit.core.message_state import Act
from chatkit.core.model import check_reference
from chatkit.errors import BadReference, BadRequest, ChatkitError, Forbidden

REPLY_EPILOG = """
chatkit reply ops 42 "on it"

df -h | chatkit reply ops 42
"""

EDIT_EPILOG = """
chatkit edit ops 42 "backup done, without errors"

chatkit edit ops 42 - < corrected.txt
"""

REACT_EPILOG = """
chatkit react ops 42 👍

chatkit react ops 42 :tada:

chatkit react ops 42 👍 --remove
"""

_WHO_EDITS = (
    "on a server, give the sender's --token; on a store, the sender's --name, unless a token proved it; "
    "to answer, use 'chatkit reply'"
)

Text = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="The text. With '-', or in a pipe, all of standard input is the text.",
        show_default=False,
    ),
]
JsonEntry = Annotated[bool, typer.Option("--json", help="Print the stored entry as JSON.")]


def reply(
    ctx: typer.Context,
    room: RoomName,
    seq: Seq,
    text: Text = None,
    *,
    json: JsonEntry = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Publish a reply to a message.

    On a terminal, 'chatkit history ROOM' shows the numbers of the messages.
    """
    with _reporting(room):
        target = Target(ctx, server, backend, name, token)
        _publish(target, room_name(room), seq, None, _reply_text(text), json=json)


def edit(
    ctx: typer.Context,
    room: RoomName,
    seq: Seq,
    text: Text = None,
    *,
    json: JsonEntry = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Give a message that you sent another text.

    Readers see the new text, and that it was edited. The earlier text stays in the log ('chatkit history --raw'). Where
    there are tokens, you need the token with which you sent the message, and a server. With --backend, you can edit
    what was sent without a token, under the name that sent it.
    """
    with _reporting(room):
        target = Target(ctx, server, backend, name, token)
        _publish(target, room_name(room), seq, Act.EDIT, _text(text), json=json)


def react(
    ctx: typer.Context,
    room: RoomName,
    seq: Seq,
    emoji: Annotated[
        str, typer.Argument(metavar="EMOJI", help="One emoji, or its name, such as :tada:.", show_default=False)
    ],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Remove your reaction.")] = False,
    json: JsonEntry = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """React to a message with an emoji.

    On a terminal, 'chatkit history ROOM' shows the numbers of the messages.
    """
    with _reporting(room):
        target = Target(ctx, server, backend, name, token)
        _publish(target, room_name(room), seq, Act.UNREACT if remove else Act.REACT, _emoji(emoji), json=json)


def _reporting(room: str) -> AbstractContextManager[None]:
    return report_errors(lambda error: _describe(error, room.removeprefix("#")))


def _publish(target: Target, room: str, seq: int, act: Act | None, body: str, *, json: bool) -> None:
    """Publish a reply, or a change, and report one that changes nothing."""
    check_reference(seq, act, body, None)
    if json:
        begin_json()
    stored = publish_one(target, room, body, of=seq, act=act)
    print_stored(stored, json=json)
    if stored.act is act:
        target.report_name(stored.sender)
    elif not json:
        print_notice(
            f"you have {'no such reaction' if act is Act.UNREACT else 'that reaction already'} on message {seq}"
        )


def _text(words: list[str] | None) -> str:
    """Return the text of the command line or of standard input."""
    if words and words != ["-"]:
        return join_words(words)
    if not words and sys.stdin.isatty():
        raise BadRequest("no text to publish: give a TEXT, use a pipe, or give '-' to type it")
    return read_whole()


def _reply_text(words: list[str] | None) -> str:
    text = _text(words)
    if not text:
        raise BadRequest("a reply needs a text")
    return text


def _emoji(text: str) -> str:
    """Return the text. Raise `BadRequest` for the name of an emoji without its colons."""
    if re.fullmatch(r"[a-z0-9_+-]{2,30}", text):
        raise BadRequest(f"write the name of an emoji between colons: :{text}:")
    return text


def _describe(error: ChatkitError, room: str) -> str:
    """Return the sentence of an error, and what can be done about it."""
    match error:
        case BadReference():
            return f"{error} ({look_for_numbers(room)})"
        case Forbidden() if "edits" in str(error):
            return f"{error} ({_WHO_EDITS})"
        case _:
            return with_next_step(error)
