"""`chatkit token`: make, list, show, rotate, revoke and remove tokens."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chatkit.cli.administration import (
    Expires,
    Yes,
    administering,
    complete_ended_token,
    complete_token,
    print_json,
    printing_secret,
)
from chatkit.cli.confirm import confirm
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.grants import Moderate, Read, Write, read_grants, shown_grants
from chatkit.cli.hook_token import hook_lines, with_hook_url
from chatkit.cli.links import page_of, token_link
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, ServerURL, Token, checked, room_name
from chatkit.cli.output import print_lines, print_notice
from chatkit.cli.secret_file import read_secret
from chatkit.cli.table import facts, print_table
from chatkit.cli.target import Target
from chatkit.cli.times import is_over, read_duration, read_end_ms, shown_time
from chatkit.core.access import Grant, Right
from chatkit.core.model import check_sender
from chatkit.core.text import normalize
from chatkit.core.token import TokenKind
from chatkit.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from chatkit.wire.access import NewTokenView, TokenView

HELP = "Make, list, revoke and remove tokens: each is a name with rights."

TokenId = Annotated[
    str,
    typer.Argument(
        metavar="ID|NAME",
        help="The id of the token, or its name if no other token has it.",
        show_default=False,
        autocompletion=complete_token,
    ),
]


def add(
    ctx: typer.Context,
    holder: Annotated[str, typer.Argument(metavar="NAME", help="The name of its holder.", show_default=False)],
    *,
    read: Read = None,
    write: Write = None,
    moderate: Moderate = None,
    admin: Annotated[bool, typer.Option("--admin", help="Allow everything, also the administration.")] = False,
    bot: Annotated[bool, typer.Option("--bot", help="Mark what the holder writes as a program's.")] = False,
    hook: Annotated[
        str | None,
        typer.Option(
            metavar="ROOM", help="Make a token that may only write to this room, as a program.", show_default=False
        ),
    ] = None,
    signing_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --hook: accept only requests that are signed with the secret in this file ('-': stdin).",
            show_default=False,
        ),
    ] = None,
    expires: Expires = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Make a token and print its secret, which is not shown again.

    A token binds a name: nobody else can use it, or a name that looks like it. As soon as a store has a token, all
    others may only do what 'chatkit serve --open' allows.
    """
    with report_errors():
        if hook is not None and (read or write or moderate or admin or bot):
            raise BadRequest("--hook gives all the rights of its token: leave out the other rights, and --bot")
        if hook is None and signing_secret_file is not None:
            raise BadRequest("--signing-secret-file is for webhooks: give --hook, too")
        name = check_sender(holder)
        grants = read_grants(read, write, moderate, admin=admin) if hook is None else _hook_grants(hook)
        kind = TokenKind.HOOK if hook is not None else TokenKind.BOT if bot else TokenKind.PERSON
        expires_ms = read_end_ms(expires)
        signing_secret = None if signing_secret_file is None else read_secret(signing_secret_file)
        target = Target(ctx, server, backend, None, token)
        with administering(target, make=True) as administrator:
            made = administrator.add_token(
                name, grants, kind=kind, expires_ms=expires_ms, signing_secret=signing_secret
            )
        with printing_secret():
            print_new_token(ctx, target, made, json=json)


def list_(
    ctx: typer.Context,
    *,
    ended: Annotated[bool, typer.Option("--all", help="Also list those that were revoked or have expired.")] = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """List the tokens, the oldest first."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            views = [view for view in administrator.tokens() if ended or _end_of(view) is None]
        if json:
            print_json(*views)
        else:
            _print_list(views)


def show(
    ctx: typer.Context,
    token_id: TokenId,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Show a token: its name and rights, when it was made and used, and when it ends."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            found = find_tokens(administrator.tokens(), token_id)
        if json:
            print_json(*found)
        else:
            blocks = ("\n".join(facts(token_facts(view))) for view in found)
            sys.stdout.write("\n\n".join(blocks) + "\n")


def revoke(
    ctx: typer.Context,
    token_id: TokenId,
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Revoke a token. Its connections are closed within seconds.

    This cannot be undone. The name stays reserved: 'chatkit token add' gives it a new token, and 'chatkit token remove'
    frees it.
    """
    with report_errors():
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            found = find_token(administrator.tokens(), token_id)
            confirm(f"Revoke the token {found.id} of {found.name}?", yes=yes)
            view = administrator.revoke(found.id)
        if json:
            print_json(view)
        else:
            print_notice(f"revoked the token {view.id} of {view.name}")


def remove(
    ctx: typer.Context,
    token_id: Annotated[
        str,
        typer.Argument(
            metavar="ID|NAME",
            help="The id of an ended token, or a name: then all of its ended tokens.",
            show_default=False,
            autocompletion=complete_ended_token,
        ),
    ],
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Remove a token that was revoked or has expired, so that others can use its name.

    This cannot be undone. The name is free when its last token has been removed. The audit keeps what the token did.
    """
    with report_errors():
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            tokens = administrator.tokens()
            ended = find_ended_tokens(tokens, token_id)
            confirm(_question(ended, tokens), yes=yes)
            removed = [administrator.remove(view.id) for view in ended]
        if json:
            print_json(*removed)
        else:
            print_notice(f"removed {_names_of(removed)}")


def rotate(
    ctx: typer.Context,
    token_id: TokenId,
    *,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            parser=checked(read_duration),
            help="Keep the old secret valid for this long, such as 1h or 7d.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Replace the secret of a token and print the new one, which is not shown again.

    Without --overlap, the old secret ends at once. Name, rights and expiry stay.
    """
    with report_errors():
        overlap_s = 0 if overlap is None else round(read_duration(overlap).total_seconds())
        target = Target(ctx, server, backend, None, token)
        with administering(target) as administrator:
            found = find_token(administrator.tokens(), token_id)
            made = administrator.rotate(found.id, overlap_s=overlap_s)
        with printing_secret():
            print_new_token(ctx, target, made, json=json)


def print_new_token(ctx: typer.Context, target: Target, made: "NewTokenView", *, json: bool) -> None:
    """Print a token with its secret, and how to use it."""
    from chatkit.client.endpoint import Endpoint

    page = page_of(ctx, target)
    if made.kind is TokenKind.HOOK:
        made = with_hook_url(made, page or Endpoint.parse(DEFAULT_SERVER))
    if json:
        print_json(made)
        return
    if made.kind is TokenKind.HOOK:
        print_lines([*facts(token_facts(made)), *hook_lines(made)])
        return
    server = "" if page is None or page.url == DEFAULT_SERVER else f"CHATKIT_SERVER={shlex.quote(page.url)} "
    lines = [
        *facts([*token_facts(made), ("secret", made.secret)]),
        "",
        "Keep the secret: it is not shown again. To use it in commands:",
        "",
        f"  export {server}CHATKIT_TOKEN={made.secret}",
    ]
    if page is not None and made.kind is TokenKind.PERSON:
        lines += ["", "To sign in with a browser, open:", "", f"  {token_link(page, made.secret)}"]
    print_lines(lines)


def token_facts(view: "TokenView") -> list[tuple[str, str]]:
    """Return what is known of a token, except for its secret."""
    pairs = [
        ("id", view.id),
        ("name", view.name),
        ("kind", view.kind),
        ("rights", shown_grants(view.grants)),
        ("made", f"{shown_time(view.created)} by {view.made_by}"),
        ("used", shown_time(view.last_used) or "never"),
        ("uses left", "" if view.uses_left is None else str(view.uses_left)),
        ("expires", shown_time(view.expires) or "never"),
        ("revoked", shown_time(view.revoked)),
        ("overlap", _overlap(view)),
        ("signed", "only signed requests are accepted" if view.signed else ""),
    ]
    return [(name, value) for name, value in pairs if value]


def find_tokens(views: Sequence["TokenView"], id_or_name: str) -> list["TokenView"]:
    """Return the token with an id, or else all tokens of a name. Raise `NotFound`."""
    name = normalize(id_or_name)
    found = [view for view in views if view.id == id_or_name] or [view for view in views if view.name == name]
    if not found:
        raise NotFound(f"there is no token {id_or_name!r}: 'chatkit token list --all' shows them")
    return found


def find_token(views: Sequence["TokenView"], id_or_name: str) -> "TokenView":
    """Return the token with an id, or the only valid one of a name. Raise `NotFound` or `BadRequest`."""
    found = find_tokens(views, id_or_name)
    valid = [view for view in found if _end_of(view) is None] or found[-1:]
    if len(valid) > 1:
        raise BadRequest(f"{id_or_name} has {len(valid)} tokens: give an id ({', '.join(view.id for view in valid)})")
    return valid[0]


def find_ended_tokens(views: Sequence["TokenView"], id_or_name: str) -> list["TokenView"]:
    """Return the ended token with an id, or all ended tokens of a name. Raise `NotFound` or `BadRequest`."""
    ended = [view for view in find_tokens(views, id_or_name) if _end_of(view) is not None]
    if not ended:
        raise BadRequest(f"the token {id_or_name!r} is in use: revoke it first")
    return ended


def _question(ended: Sequence["TokenView"], tokens: Sequence["TokenView"]) -> str:
    """Return the question before tokens of one name are removed. It says if the name is free afterwards."""
    holders = [view for view in tokens if view.name == ended[0].name and view.kind is not TokenKind.INVITE]
    is_free = len(holders) == len(ended) and ended[0].kind is not TokenKind.INVITE
    return f"Remove {_names_of(ended)}?" + (" Others can then use this name." if is_free else "")


def _names_of(views: Sequence["TokenView"]) -> str:
    ids = ", ".join(view.id for view in views)
    return f"the token{'s' if len(views) > 1 else ''} {ids} of {views[0].name}"


def _print_list(views: Sequence["TokenView"]) -> None:
    head = ("ID", "NAME", "KIND", "RIGHTS", "USED", "EXPIRES")
    rows = [
        (
            view.id,
            view.name,
            view.kind if view.uses_left is None else f"{view.kind} ({view.uses_left} left)",
            shown_grants(view.grants),
            shown_time(view.last_used) or "never",
            _end_of(view) or shown_time(view.expires) or "never",
        )
        for view in views
    ]
    print_table(head, rows, "there are no tokens; make one with: chatkit token add NAME --admin")


def _end_of(view: "TokenView") -> str | None:
    """Return how a token ended, or None if it is valid."""
    if view.revoked is not None:
        return "revoked"
    return "expired" if is_over(view.expires) else None


def _overlap(view: "TokenView") -> str:
    if view.previous_until is None or is_over(view.previous_until):
        return ""
    return f"the secret before this one is valid until {shown_time(view.previous_until)}"


def _hook_grants(room: str) -> tuple[Grant, ...]:
    return (Grant(room_name(room), (Right.WRITE,)),)


ADD_EXAMPLES = """
chatkit token add ann --read '*' --write '*'

chatkit token add cron --bot --write ops --expires 365d

chatkit token add alerts --hook ops

chatkit token add root --admin --backend sqlite:///rooms.db
"""

REVOKE_EXAMPLES = """
chatkit token revoke ann

chatkit token revoke k3f9x2m4qa --yes
"""

REMOVE_EXAMPLES = """
chatkit token remove ann

chatkit token remove k3f9x2m4qa --yes
"""

COMMANDS: Final = (
    (add, ADD_EXAMPLES),
    (list_, "chatkit token list --all"),
    (show, "chatkit token show ann"),
    (revoke, REVOKE_EXAMPLES),
    (remove, REMOVE_EXAMPLES),
    (rotate, "chatkit token rotate cron --overlap 1h"),
)
