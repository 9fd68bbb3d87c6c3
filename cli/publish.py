"""`chatkit publish`: publish one message, or each line of standard input."""

import secrets
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.input import read_all
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, RoomName, SenderName, ServerURL, Token, room_name
from chatkit.cli.output import begin_json, needs_reader
from chatkit.cli.target import Target
from chatkit.core.message_state import Act
from chatkit.core.model import Message, check_body, check_key
from chatkit.errors import BadBody, BadRequest, RateLimited
from chatkit.wire.protocol import WireMessage

if TYPE_CHECKING:
    from chatkit.client.http import HttpClient

BYTE_ORDER_MARK = "\ufeff"  # some editors write it at the start of a file, so that "$(cat FILE)" contains it

EPILOG = """
chatkit publish ops "backup done"

df -h | chatkit publish ops --whole

tail -F /var/log/syslog | chatkit publish logs

chatkit publish ops deployed --data '{"version": 7}' --key deploy-7
"""


def publish(
    ctx: typer.Context,
    room: RoomName,
    text: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="The text of the message. With '-', or in a pipe, each line of standard input is a message.",
            show_default=False,
        ),
    ] = None,
    *,
    whole: Annotated[bool, typer.Option("--whole", help="Publish all of standard input as one message.")] = False,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Identify the message by this key. Publishing it again with the same key stores nothing.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Add this JSON value, for programs, to the message.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the stored message as JSON.")] = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Publish a message, or each line of standard input as soon as it arrives.

    The command ends when everything is stored, each message once and in order. It waits when the server limits its
    rate, and reconnects when the connection is lost.
    """
    with report_errors(with_next_step):
        target = Target(ctx, server, backend, name, token)
        room = room_name(room)
        if json:
            begin_json()
        body = _body(text, whole=whole)
        if body is not None:
            stored = publish_one(target, room, body, key=key, data=_value(data))
            print_stored(stored, json=json)
            target.report_name(stored.sender)
        elif key is not None or data is not None:
            raise BadRequest("--key and --data belong to one message: give its text, or --whole")
        else:
            publish_stdin(target, room, json=json)


def publish_one(
    target: Target,
    room: str,
    body: str,
    *,
    key: str | None = None,
    data: Any = None,
    of: int | None = None,
    act: Act | None = None,
) -> WireMessage:
    """Publish a message and return it as it is stored; for a change that changes nothing, the message `of`."""
    if target.backend is not None:
        import asyncio

        return WireMessage.of_message(
            asyncio.run(_publish_to_store(target, room, body, key=key, data=data, of=of, act=act))
        )
    with target.http_client() as client:
        return _publish_to_server(client, room, body, key=key, data=data, of=of, act=act)


def _publish_to_server(
    client: "HttpClient", room: str, body: str, *, key: str | None, data: Any, of: int | None, act: Act | None
) -> WireMessage:
    """Publish a message by one HTTP call, repeated while the server limits the rate."""
    check_body(body, sys.maxsize)  # that it is text; the server checks its size
    # All attempts have the same key, so that the message is stored once.
    key = secrets.token_urlsafe(12) if key is None else check_key(key)
    while True:
        try:
            return client.publish(room, body, key=key, data=data, of=of, act=act).message
        except RateLimited as error:
            time.sleep(error.retry_after_s)


def publish_stdin(target: Target, room: str, *, json: bool) -> None:
    """Publish standard input line by line."""
    import asyncio

    from chatkit.cli.publish_stdin import publish_lines

    asyncio.run(publish_lines(target, room, _print_line_stored if json else None))


def _print_line_stored(message: WireMessage) -> None:
    with needs_reader():  # an error stops the command before it publishes the next lines
        print_stored(message, json=True)


def print_stored(message: WireMessage, *, json: bool) -> None:
    """Print a stored message, if `--json` is given."""
    if json:
        from chatkit.cli.formats import wire_json

        sys.stdout.write(f"{wire_json(message)}\n")
        sys.stdout.flush()


async def _publish_to_store(
    target: Target, room: str, body: str, *, key: str | None, data: Any, of: int | None, act: Act | None
) -> Message:
    async with target.store(make=of is None) as store:  # a new store has no message to refer to
        return (await store.publish(room, body, key=key, data=data, of=of, act=act)).message


def _body(text: list[str] | None, *, whole: bool) -> str | None:
    """Return the text of the one message to publish, or None if each line of standard input is a message."""
    if text and text != ["-"]:
        if whole:
            raise BadRequest("--whole reads standard input: leave out the text")
        return join_words(text)
    if not text and sys.stdin.isatty():
        raise BadRequest("no text to publish: give a TEXT, use a pipe, or give '-' to type line by line")
    return read_whole() if whole else None


def join_words(text: list[str]) -> str:
    """Return the text that the words of a command line make up."""
    return " ".join(text).removeprefix(BYTE_ORDER_MARK)


def read_whole() -> str:
    """Return all of standard input as one text. Raise `BadBody` or `InputFailed`."""
    try:
        return read_all().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise BadBody("standard input is not UTF-8 text") from error


def _value(json: str | None) -> Any:
    if json is None:
        return None
    import msgspec

    try:
        return msgspec.json.decode(json.removeprefix(BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadRequest(f"--data is not valid JSON: {error}") from error
