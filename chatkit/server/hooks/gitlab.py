"""GitLab: push, tag, merge request, issue, comment, pipeline and job; all other events as one readable line.

Source: https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import HookMessage, card, field, shortened
from chatkit.server.hooks.repository import ZEROS, branch_of, color_of, commit_lines, count, done, with_article, words

MAX_DESCRIPTION_CHARS: Final = 1_000  # of an issue, a merge request or a comment: the title links to the whole


def convert(sent: Any, event: str) -> HookMessage:
    """Return the message of an event. `event` is the header `X-Gitlab-Event`, such as `Push Hook`."""
    kind = payload.line(sent, "object_kind") or payload.line(sent, "event_name") or _kind_of(event)
    match kind:
        case "push" | "tag_push":
            return _push(sent, kind)
        case "merge_request" | "issue" | "work_item":
            return _discussed(sent, kind)
        case "note":
            return _note(sent)
        case "pipeline":
            return _pipeline(sent)
        case "build":
            return _job(sent)
        case _:
            return _other(sent, kind)


def _kind_of(event: str) -> str:
    return event.lower().removesuffix(" hook").replace(" ", "_")


def _project(sent: Any) -> str:
    name = payload.line(sent, "project", "path_with_namespace") or payload.line(sent, "project", "name")
    name = name or payload.line(sent, "project_name") or payload.line(sent, "group", "full_path")
    return payload.link(name or "GitLab", payload.url(sent, "project", "web_url"))


def _who(sent: Any) -> str:
    return payload.line(sent, "user", "name") or payload.line(sent, "user_name") or "somebody"


def _push(sent: Any, kind: str) -> HookMessage:
    what = f"the {'tag' if kind == 'tag_push' else 'branch'} `{branch_of(payload.line(sent, 'ref'))}`"
    commits = payload.items(sent, "commits")
    given = payload.get(sent, "total_commits_count")
    n_commits = given if isinstance(given, int) and 0 <= given < 1_000_000 else len(commits)
    if payload.line(sent, "after") == ZEROS:
        did = f"deleted {what} of"
    elif payload.line(sent, "before") == ZEROS and (kind == "tag_push" or not commits):
        did = f"made {what} in"
    else:
        did = f"pushed {count(n_commits, 'commit')} to {what} of"
    shown = commit_lines(commits, n_commits) if kind == "push" else ""
    return HookMessage(payload.join([f"{_who(sent)} {did} {_project(sent)}", shown]), event=kind)


def _discussed(sent: Any, kind: str) -> HookMessage:
    about = payload.get(sent, "object_attributes")
    action = payload.line(about, "action") or payload.line(about, "state")
    mark = "!" if kind == "merge_request" else "#"
    number = mark + payload.line(about, "iid")
    branches = [payload.line(about, side) for side in ("source_branch", "target_branch")]
    labels = ", ".join(filter(None, (payload.line(label, "title") for label in payload.items(sent, "labels"))))
    cards = card(
        title=f"{number} {payload.line(about, 'title')}",
        url=payload.url(about, "url"),
        color=color_of(payload.line(about, "state")),
        text=shortened(payload.text(about, "description"), MAX_DESCRIPTION_CHARS) if action == "open" else "",
        fields=[
            *field("branch", f"`{branches[0]}` → `{branches[1]}`" if all(branches) else "", short=True),
            *field("labels", labels, short=True),
        ],
    )
    text = f"{_who(sent)} {done(action)} {words(kind)} {number} in {_project(sent)}"
    return HookMessage(text, cards, event=kind)


def _note(sent: Any) -> HookMessage:
    about = payload.get(sent, "object_attributes")
    for kind, mark in (("merge_request", "!"), ("issue", "#"), ("snippet", "$"), ("commit", "")):
        subject = payload.get(sent, kind)
        if isinstance(subject, dict):
            number = mark + payload.line(subject, "iid") if mark else payload.line(subject, "id")[:7]
            title = payload.line(subject, "title") or payload.line(subject, "message")
            break
    else:
        kind, number, title = "", "", ""
    cards = card(
        title=f"{number} {title}".strip() or "comment",
        url=payload.url(about, "url"),
        text=shortened(payload.text(about, "note"), MAX_DESCRIPTION_CHARS),
    )
    on = payload.join([words(kind), number], " ")
    return HookMessage(f"{_who(sent)} commented on {on or 'something'} in {_project(sent)}", cards, event="note")


def _pipeline(sent: Any) -> HookMessage:
    about = payload.get(sent, "object_attributes")
    state, number = payload.line(about, "status"), payload.line(about, "id")
    failed = [
        payload.line(job, "name") for job in payload.items(sent, "builds") if payload.get(job, "status") == "failed"
    ]
    duration = payload.line(about, "duration")
    cards = card(
        title=f"Pipeline #{number}",
        url=payload.url(about, "url"),
        color=color_of(state),
        text=payload.line(sent, "commit", "title"),
        fields=[
            *field("branch", payload.line(about, "ref"), short=True),
            *field("duration", f"{duration} s" if duration else "", short=True),
            *field("failed jobs", ", ".join(failed)),
        ],
    )
    return HookMessage(f"**Pipeline #{number}**: {words(state)} in {_project(sent)}", cards, event="pipeline")


def _job(sent: Any) -> HookMessage:
    name, state = payload.line(sent, "build_name"), payload.line(sent, "build_status")
    branch = payload.line(sent, "ref")
    return HookMessage(
        f"**{name}**: {words(state)}" + (f" on `{branch}`" if branch else "") + f" in {_project(sent)}", event="build"
    )


def _other(sent: Any, kind: str) -> HookMessage:
    """Return who did what to what, with a link to the object of the event."""
    about = payload.get(sent, "object_attributes")
    if not isinstance(about, dict):
        about = sent  # a release or a deployment has its fields at the top
    action = payload.line(about, "action") or payload.line(about, "status")
    title = payload.line(about, "title") or payload.line(about, "name") or payload.line(about, "tag")
    did = payload.join([done(action) or "sent", with_article(words(kind))], " ")
    text = f"{_who(sent)} {did} in {_project(sent)}"
    shown = card(title=title, url=payload.url(about, "url"), color=color_of(action))
    return HookMessage(text, shown if title else (), event=kind)
