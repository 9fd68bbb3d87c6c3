"""`chatkit mentions`: list the messages that mention you."""

from typing import Annotated

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, SenderName, ServerURL, Token
from chatkit.cli.output import print_notice
from chatkit.cli.target import Target

NEWEST = 20  # printed by default: what a person reads at once

EPILOG = """
chatkit mentions

chatkit mentions -n 5 --json
"""


def mentions(
    ctx: typer.Context,
    *,
    count: Annotated[
        int, typer.Option("-n", min=0, metavar="N", help="Print the newest N messages; 0 is all of them.")
    ] = NEWEST,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """List the messages of all rooms that mention you, newest first.

    A message mentions you if your name follows an @ in it: the name of your token or, on a server without tokens, your
    sender name if you were in the room then.
    """
    with report_errors(with_next_step):
        import asyncio

        asyncio.run(print_mentions(Target(ctx, server, backend, name, token), count or None, json=json))


async def print_mentions(target: Target, count: int | None, *, json: bool) -> None:
    """Print the newest mentions."""
    from chatkit.cli.history_printer import HistoryPrinter, text_for_output
    from chatkit.cli.listing import read_listing

    async with target.open() as source:
        messages, has_more = await read_listing(source.mentions, count)
    printer = HistoryPrinter("json" if json else "text", text_for_output(shows_room=True))
    printer.print_all(messages)
    if not messages and not json:
        print_notice("nobody has mentioned you")
    elif has_more and count == NEWEST:
        print_notice(f"these are the newest {NEWEST} mentions (-n 0 prints all)")
