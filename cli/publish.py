"""`chatkit publish`: one message, or a line of standard input each."""

import sys
from typing import Annotated, Any

import typer

from chatkit.cli.exit_codes import exits
from chatkit.cli.input import read_all
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, RoomName, SenderName, ServerURL, Target, Token, room_name
from chatkit.cli.output import begin_json, needs_reader
from chatkit.core.model import Message
from chatkit.errors import BadBody, BadRequest
from chatkit.wire.protocol import WireMessage

MARK = "\ufeff"  # the byte order mark that begins a file written by some editors, as in "$(cat FILE)"

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
        list[str] | None, typer.Argument(help="What to say; '-' or a pipe: a message per line.", show_default=False)
    ] = None,
    *,
    whole: Annotated[bool, typer.Option("--whole", help="All of standard input is one message.")] = False,
    key: Annotated[
        str | None, typer.Option(help="Names this message: publishing it again stores nothing.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="A value for programs, beside the text.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the stored message as JSON.")] = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Publish a message, or each line of a pipe as it comes.

    Returns when all is stored. A server that says "too much" is waited for; a connection that breaks is made again, and
    every message is stored once and in order.
    """
    with exits():
        place = Target(ctx, server, backend, name, token)
        room = room_name(room)
        if json:
            begin_json()
        body = _body(text, whole=whole)
        if body is not None:
            stored = publish_one(place, room, body, key=key, data=_value(data))
            print_stored(stored, json=json)
        elif key is not None or data is not None:
            raise BadRequest("--key and --data belong to one message: give its text, or --whole")
        else:
            publish_stdin(place, room, json=json)


def publish_one(place: Target, room: str, body: str, *, key: str | None = None, data: Any = None) -> WireMessage:
    """Publish a message by the shortest way and return it as it is stored."""
    if place.backend is not None:
        import asyncio

        return WireMessage.of(asyncio.run(_publish_to_store(place, room, body, key, data)))
    from chatkit.cli.post import post

    with place.calls() as calls:
        return post(calls, room, body, key=key, data=data)


def publish_stdin(place: Target, room: str, *, json: bool) -> None:
    """Publish standard input line by line."""
    import asyncio

    from chatkit.cli.publish_stdin import publish_lines

    asyncio.run(publish_lines(place, room, _print_line_stored if json else None))


def _print_line_stored(message: WireMessage) -> None:
    with needs_reader():  # the lines that follow are not published when this fails
        print_stored(message, json=True)


def print_stored(message: WireMessage, *, json: bool) -> None:
    """Show what is stored, if that was asked for."""
    if json:
        from chatkit.cli.formats import wire_json_line

        sys.stdout.write(f"{wire_json_line(message)}\n")
        sys.stdout.flush()


async def _publish_to_store(place: Target, room: str, body: str, key: str | None, data: Any) -> Message:
    async with place.store(make=True) as store:
        return (await store.publish(room, body, key=key, data=data)).message


def _body(text: list[str] | None, *, whole: bool) -> str | None:
    """Return the one message to publish; None where each line of standard input is one."""
    if text and text != ["-"]:
        if whole:
            raise BadRequest("--whole reads standard input: give no text with it")
        return " ".join(text).removeprefix(MARK)
    if not text and sys.stdin.isatty():
        raise BadRequest("say what to publish, or pipe it in, or give '-' to type it line by line")
    if not whole:
        return None
    try:
        return read_all().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise BadBody("standard input is not UTF-8 text") from error


def _value(json: str | None) -> Any:
    if json is None:
        return None
    import msgspec

    try:
        return msgspec.json.decode(json.removeprefix(MARK))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadRequest(f"--data is no JSON: {error}") from error
