"""`chatkit webhook`: send what happens in rooms to other programs, as signed HTTP requests."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from chatkit.cli.administration import Yes, administering, print_json, printing_secret
from chatkit.cli.confirm import confirm
from chatkit.cli.exit_codes import report_errors
from chatkit.cli.options import DEFAULT_SERVER, BackendURL, Json, ServerURL, Token, complete_words
from chatkit.cli.output import print_lines, print_notice
from chatkit.cli.sanitize import one_line
from chatkit.cli.table import facts, print_table
from chatkit.cli.target import Target
from chatkit.cli.times import shown_time
from chatkit.core.access import check_pattern
from chatkit.core.webhook import WebhookEvent
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatkit.wire.webhooks import ExchangeView, WebhookView

HELP = "Send what happens in rooms to other programs, as signed HTTP requests."
LOOK = "'chatkit webhook list' shows the ids"


def complete_webhook(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of the server's webhooks that begin with `incomplete`."""
    return complete_words(ctx, incomplete, lambda client: [view.id for view in client.webhooks() if view.id.isalnum()])


WebhookId = Annotated[
    str,
    typer.Argument(metavar="ID", help="The id of the webhook.", show_default=False, autocompletion=complete_webhook),
]


def add(
    ctx: typer.Context,
    room: Annotated[
        str,
        typer.Argument(
            metavar="ROOM", help="A room, or a pattern such as 'ops*'; several with commas.", show_default=False
        ),
    ],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to send the requests.", show_default=False)],
    *,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Send these: message, mention, join, leave. Without it, messages; with --mention, mentions.",
            show_default=False,
        ),
    ] = None,
    mention: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Send the messages that mention this name.", show_default=False),
    ] = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Add a webhook and print the secret that signs its requests, which is not shown again.

    It needs the right to moderate the room, and for a pattern to administer the server. Only a server sends: with
    --backend, those that serve the store.
    """
    with report_errors():
        rooms = [check_pattern(each.strip().removeprefix("#")) for each in room.split(",")]
        wanted = _events(events, mention)
        with administering(Target(ctx, server, backend, None, token), make=True) as administrator:
            made = administrator.add_webhook(url, rooms, wanted, mention=mention)
        with printing_secret():
            if json:
                print_json(made)
                return
            print_lines(
                [
                    *facts([*webhook_facts(made), ("secret", made.secret)]),
                    "",
                    "Keep the secret for the receiver: it is not shown again. To try it:",
                    "",
                    f"  chatkit webhook test {made.id}",
                ]
            )


def list_(
    ctx: typer.Context,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """List the webhooks of the rooms that you moderate, and which of them fail."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token)) as administrator:
            views = administrator.webhooks()
        if json:
            print_json(*views)
        else:
            _print_list(views)


def show(
    ctx: typer.Context,
    webhook_id: WebhookId,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Show a webhook: what it sends where, and whether its requests fail."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token), look=LOOK) as administrator:
            view = administrator.webhook(webhook_id)
        if json:
            print_json(view)
        else:
            print_lines(facts(webhook_facts(view)))


def test(
    ctx: typer.Context,
    webhook_id: WebhookId,
    *,
    webhook_allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            envvar="CHATKIT_WEBHOOK_ALLOW",
            help="With --backend: let the test connect to this private network or address.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Send a test to a webhook, and show the request and the answer.

    The server sends it; with --backend, this command does.
    """
    with report_errors():
        target = Target(ctx, server, backend, None, token)
        options: dict[str, Any] = {} if target.backend is None else {"allow": tuple(webhook_allow or ())}
        with administering(target, look=LOOK) as administrator:
            view = administrator.test_webhook(webhook_id, **options)
        if json:
            print_json(view)
        else:
            print_lines(_shown_exchange(view))
        if not view.ok:
            print_notice(view.error or "the receiver did not accept the request")
            raise typer.Exit(ExitCode.FAILED)


def resume(
    ctx: typer.Context,
    webhook_id: WebhookId,
    *,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Try a webhook again that fails or was parked. It continues with the message that was not delivered."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token), look=LOOK) as administrator:
            view = administrator.resume_webhook(webhook_id)
        if json:
            print_json(view)
        else:
            print_notice(f"resumed the webhook {view.id}")


def remove(
    ctx: typer.Context,
    webhook_id: WebhookId,
    *,
    yes: Yes = False,
    json: Json = False,
    server: ServerURL = DEFAULT_SERVER,
    backend: BackendURL = None,
    token: Token = None,
) -> None:
    """Remove a webhook. What was not delivered is not sent any more. This cannot be undone."""
    with report_errors():
        with administering(Target(ctx, server, backend, None, token), look=LOOK) as administrator:
            found = administrator.webhook(webhook_id)
            confirm(f"Remove the webhook {found.id} of {', '.join(found.rooms)}?", yes=yes)
            view = administrator.remove_webhook(found.id)
        if json:
            print_json(view)
        else:
            print_notice(f"removed the webhook {view.id} of {', '.join(view.rooms)}")


def webhook_facts(view: "WebhookView") -> list[tuple[str, str]]:
    """Return what is known of a webhook, except for its secret."""
    pairs = [
        ("id", view.id),
        ("url", view.url),
        ("rooms", ", ".join(view.rooms)),
        ("events", _shown_events(view)),
        ("made", f"{shown_time(view.created)} by {view.made_by}"),
        ("state", view.state),
        ("failures", f"{view.failures} since {shown_time(view.failing_since)}" if view.failures else ""),
        ("reason", view.reason),
        ("next try", shown_time(view.next_try)),
        ("parked", shown_time(view.parked)),
    ]
    return [(name, value) for name, value in pairs if value]


def _events(listed: str | None, mention: str | None) -> list[WebhookEvent]:
    if listed is None:
        return [WebhookEvent.MESSAGE if mention is None else WebhookEvent.MENTION]
    try:
        return [WebhookEvent(each.strip()) for each in listed.split(",")]
    except ValueError as error:
        raise BadRequest(f"--events is a list of {', '.join(WebhookEvent)}, with commas: {listed[:80]!r}") from error


def _shown_events(view: "WebhookView") -> str:
    named = "" if view.mention is None else f" of {view.mention}"
    return ", ".join(f"mention{named}" if event is WebhookEvent.MENTION else event.value for event in view.events)


def _print_list(views: "Sequence[WebhookView]") -> None:
    head = ("ID", "ROOMS", "EVENTS", "URL", "STATE", "REASON")
    rows = [(view.id, ", ".join(view.rooms), _shown_events(view), view.url, view.state, view.reason) for view in views]
    print_table(head, rows, "there are no webhooks; add one with: chatkit webhook add ROOM URL")


def _shown_exchange(view: "ExchangeView") -> list[str]:
    request = view.request
    lines = [f"> {request.method} {request.url}", *(f"> {each.name}: {each.value}" for each in request.headers)]
    lines += [">", *(f"> {line}" for line in request.body.splitlines())]
    if view.answer is not None:
        answer = view.answer
        lines += ["", f"< {answer.status}", *(f"< {each.name}: {each.value}" for each in answer.headers)]
        lines += ["<", *(f"< {line}" for line in answer.body.splitlines())]
        lines += ["< ... (cut)"] if answer.cut else []
    return [one_line(line) for line in lines]


ADD_EXAMPLES = """
chatkit webhook add ops https://example.org/hook

chatkit webhook add 'ops*' https://example.org/hook --events message,join,leave

chatkit webhook add ops https://example.org/hook --mention deployer
"""

COMMANDS: Final = (
    (add, ADD_EXAMPLES),
    (list_, "chatkit webhook list"),
    (show, "chatkit webhook show k3f9x2m4qa"),
    (test, "chatkit webhook test k3f9x2m4qa"),
    (resume, "chatkit webhook resume k3f9x2m4qa"),
    (remove, "chatkit webhook remove k3f9x2m4qa"),
)
