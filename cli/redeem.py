"""`chatkit redeem`: redeem an invite for a token, as its link does in a browser."""

from typing import Annotated
from urllib.parse import parse_qs, urldefrag

import typer

from chatkit.cli.administration import printing_secret
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import Json, SenderName
from chatkit.cli.target import Target
from chatkit.cli.token import print_new_token
from chatkit.errors import BadRequest

EPILOG = """
chatkit redeem 'https://chat.example.org/#invite=ck_…' --name ann
"""


def redeem(
    ctx: typer.Context,
    link: Annotated[
        str,
        typer.Argument(
            metavar="LINK", help="The link that 'chatkit invite' printed. Put it in quotes.", show_default=False
        ),
    ],
    *,
    name: SenderName = None,
    json: Json = False,
) -> None:
    """Redeem an invite, and print the token that it gives, which is not shown again.

    The token has the rights of the invite. Its name must be free, and belongs to you from then on.
    """
    with report_errors(with_next_step):
        from chatkit.client.admin import AdminClient
        from chatkit.client.endpoint import Endpoint

        server, secret = read_link(link)
        target = Target(ctx, server, None, name, None)
        with AdminClient(Endpoint.parse(server)) as client:
            made = client.redeem(secret, target.name)
        with printing_secret():
            print_new_token(ctx, target, made, json=json)


def read_link(link: str) -> tuple[str, str]:
    """Return the server and the secret of an invite's link. Raise `BadRequest`."""
    server, fragment = urldefrag(link)
    (secret,) = parse_qs(fragment).get("invite", [""])[:1]
    if not server or not secret:
        raise BadRequest("this is not the link of an invite: it ends in #invite= and a secret (put it in quotes)")
    return server, secret
