"""`chatkit redeem`: redeem an invite for a token, as its link does in a browser."""

from typing import Annotated
from urllib.parse import parse_qs

import typer

from chatkit.cli.administration import printing_secret
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import Json
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
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", envvar="CHATKIT_NAME", help="Use this name. It must be free.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Redeem an invite, and print the token that it gives, which is not shown again.

    The token has the rights of the invite. The name belongs to you from then on: nobody else can use it.
    """
    with report_errors():
        from chatkit.client.admin import AdminClient
        from chatkit.client.endpoint import Endpoint

        server, secret = read_link(link)
        if name is None:  # the login name could not be given back
            raise BadRequest("choose your name with --name: it will belong to you")
        target = Target(ctx, server, None, name, None)
        with AdminClient(Endpoint.parse(server)) as client:
            made = client.redeem(secret, target.name)
        with printing_secret():
            print_new_token(ctx, target, made, json=json)


def read_link(link: str) -> tuple[str, str]:
    """Return the server and the secret of an invite's link. Raise `BadRequest`."""
    server, _, fragment = link.partition("#")
    (secret,) = parse_qs(fragment).get("invite", [""])[:1]
    if not server or not secret:
        raise BadRequest("this is not the link of an invite: it ends in #invite= and a secret (put it in quotes)")
    return server, secret
