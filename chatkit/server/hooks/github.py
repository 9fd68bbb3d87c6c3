"""GitHub: push, pull request, issue, workflow run and ping; all other events as one readable line.

Source: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import HookMessage, card, field, shortened
from chatkit.server.hooks.repository import branch_of, color_of, commit_lines, count, is_tag, with_article, words
from chatkit.wire.cards import Card

DONE_BY_EVENT: Final = {"create": "created", "delete": "deleted", "fork": "made"}  # of events without an action
DONE_BY_ACTION: Final = {  # of actions that are no past participles
    "synchronize": "updated",
    "review_requested": "requested a review of",
    "ready_for_review": "opened for review",
}
MAX_DESCRIPTION_CHARS: Final = 1_000  # of an issue, a pull request or a comment: the title links to the whole


def convert(sent: Any, event: str) -> HookMessage:
    """Return the message of an event, whose name is in the header `X-GitHub-Event`."""
    match event:
        case "push":
            return _push(sent)
        case "pull_request":
            return _discussed(sent, event, "pull request", _pull_request_action(sent))
        case "issues":
            return _discussed(sent, event, "issue", payload.line(sent, "action"))
        case "workflow_run":
            return _workflow_run(sent)
        case "ping":
            return HookMessage(payload.join([f"GitHub is connected to {_repository(sent)}.", _zen(sent)]), event=event)
        case _:
            return _other(sent, event)


def _zen(sent: Any) -> str:
    zen = payload.line(sent, "zen")
    return f"> {zen}" if zen else ""


def _repository(sent: Any) -> str:
    for kind, name in (("repository", "full_name"), ("organization", "login"), ("enterprise", "name")):
        if found := payload.line(sent, kind, name):
            return payload.link(found, payload.url(sent, kind, "html_url"))
    return "GitHub"


def _who(sent: Any) -> str:
    return payload.line(sent, "sender", "login") or payload.line(sent, "pusher", "name") or "somebody"


def _push(sent: Any) -> HookMessage:
    ref = payload.line(sent, "ref")
    what = f"the {'tag' if is_tag(ref) else 'branch'} `{branch_of(ref)}`"
    commits = payload.items(sent, "commits")
    found = payload.get(sent, "commits")
    n_commits = len(found) if isinstance(found, list) else 0
    if payload.get(sent, "deleted") is True:
        did = f"deleted {what} of"
    elif payload.get(sent, "created") is True and not commits:
        did = f"made {what} in"
    else:
        forced = "force-pushed" if payload.get(sent, "forced") is True else "pushed"
        did = f"{forced} {payload.link(count(n_commits, 'commit'), payload.url(sent, 'compare'))} to {what} of"
    text = f"{_who(sent)} {did} {_repository(sent)}"
    return HookMessage(payload.join([text, commit_lines(commits, n_commits)]), event="push")


def _pull_request_action(sent: Any) -> str:
    action = payload.line(sent, "action")
    return "merged" if action == "closed" and payload.get(sent, "pull_request", "merged") is True else action


def _discussed(sent: Any, event: str, what: str, action: str) -> HookMessage:
    subject = payload.get(sent, "pull_request" if event == "pull_request" else "issue")
    number = payload.line(subject, "number")
    branches = [payload.line(subject, side, "ref") for side in ("head", "base")]
    labels = ", ".join(filter(None, (payload.line(label, "name") for label in payload.items(subject, "labels"))))
    has_text = action in {"opened", "edited", "reopened"}
    cards = card(
        title=f"#{number} {payload.line(subject, 'title')}".strip(),
        url=payload.url(subject, "html_url"),
        color=color_of(
            action if action in {"opened", "closed", "merged", "reopened"} else payload.line(subject, "state")
        ),
        text=_description(payload.text(subject, "body")) if has_text else "",
        fields=[
            *field("branch", f"`{branches[0]}` → `{branches[1]}`" if all(branches) else "", short=True),
            *field("labels", labels, short=True),
            *field("assignee", payload.line(sent, "assignee", "login"), short=True),
        ],
    )
    did = DONE_BY_ACTION.get(action) or words(action)
    return HookMessage(f"{_who(sent)} {did} {what} #{number} in {_repository(sent)}", cards, event=event)


def _workflow_run(sent: Any) -> HookMessage:
    run = payload.get(sent, "workflow_run")
    state = payload.line(run, "conclusion") or payload.line(run, "status") or payload.line(sent, "action")
    name = payload.line(run, "name") or payload.line(sent, "workflow", "name")
    number = payload.line(run, "run_number")
    cards = card(
        title=f"{name} #{number}" if number else name,
        url=payload.url(run, "html_url"),
        color=color_of(state),
        text=payload.line(run, "display_title") or payload.line(run, "head_commit", "message"),
        fields=[
            *field("branch", payload.line(run, "head_branch"), short=True),
            *field("commit", payload.line(run, "head_sha")[:7], short=True),
            *field("event", payload.line(run, "event"), short=True),
            *field("actor", payload.line(run, "actor", "login"), short=True),
        ],
    )
    return HookMessage(f"**{name or 'workflow'}**: {words(state)} in {_repository(sent)}", cards, event="workflow_run")


def _other(sent: Any, event: str) -> HookMessage:
    """Return who did what to what, with a link to the object of the event."""
    found = _subject(sent, event)
    action, state = payload.line(sent, "action"), payload.line(found, "conclusion") or payload.line(found, "state")
    ref = payload.line(sent, "ref") if event in {"create", "delete"} else ""
    what = payload.line(sent, "ref_type") or words(event)
    text = payload.join(
        [
            _who(sent),
            words(action) or DONE_BY_EVENT.get(event, "sent"),
            f"the {what} `{ref}`" if ref else with_article(what),
            f"in {_repository(sent)}" + (f": {words(state)}" if state else ""),
        ],
        " ",
    )
    return HookMessage(text, _card_of(sent, found, color_of(state or action)), event=event)


def _card_of(sent: Any, found: Any, color: str) -> tuple[Card, ...]:
    """Return the card of an object, or nothing if it has neither a title nor a text, and belongs to nothing."""
    parent = payload.get(sent, "pull_request") or payload.get(sent, "issue") or payload.get(sent, "discussion")
    on = payload.line(parent, "title") if parent is not found else ""
    titles = [payload.line(found, key) for key in ("title", "name", "tag_name")] + ([f"on {on}"] if on else [])
    text = payload.text(found, "body") or payload.text(found, "description")
    title = next(filter(None, titles), "")
    made = card(title=title, url=payload.url(found, "html_url"), color=color, text=_description(text))
    return made if title or text else ()


def _description(text: str) -> str:
    return shortened(text, MAX_DESCRIPTION_CHARS)


def _subject(sent: Any, event: str) -> Any:
    """Return the object that an event is about: its key is the name of the event, or the last word of it."""
    names = (event, event.rpartition("_")[2], event.removesuffix("s"))
    return next((found for name in names if isinstance(found := payload.get(sent, name), dict)), None)
