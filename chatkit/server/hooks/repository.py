"""What events of GitHub and GitLab have in common: commits, branches and states. Each makes one readable line."""

from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import BAD, GOOD, MERGED, NEUTRAL, WARNING

MAX_COMMITS: Final = 10  # of a push, shown with their first lines
SHORT_CHARS: Final = 7  # of a commit's hash
ZEROS: Final = "0" * 40  # the hash before a branch is made, and after it is deleted
COLORS: Final = {
    "opened": GOOD, "open": GOOD, "reopened": GOOD, "success": GOOD, "published": GOOD, "approved": GOOD,
    "merged": MERGED, "merge": MERGED, "closed": BAD, "close": BAD, "failure": BAD, "failed": BAD, "timed_out": BAD,
    "action_required": WARNING, "changes_requested": WARNING, "running": WARNING, "in_progress": WARNING,
    "cancelled": NEUTRAL, "canceled": NEUTRAL, "skipped": NEUTRAL,
}  # fmt: skip

DONE: Final = {
    "open": "opened", "close": "closed", "reopen": "reopened", "merge": "merged", "update": "updated",
    "create": "created", "delete": "deleted", "approval": "approved", "unapproval": "unapproved",
}  # fmt: skip


def branch_of(ref: str) -> str:
    """Return the name of a branch or a tag."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def is_tag(ref: str) -> bool:
    """Return whether a ref is a tag."""
    return ref.startswith("refs/tags/")


def commit_lines(commits: list[Any], n_commits: int) -> str:
    """Return the first lines of commits as a list, with their authors. `n_commits` is the number of all."""
    lines = [_commit_line(commit) for commit in commits[:MAX_COMMITS]]
    more = n_commits - len(lines)
    return payload.join([*lines, f"… and {more} more" if more > 0 else ""])


def _commit_line(commit: Any) -> str:
    hash_text = payload.line(commit, "id")[:SHORT_CHARS]
    first = payload.one_line(payload.text(commit, "message").partition("\n")[0])
    author = payload.line(commit, "author", "name") or payload.line(commit, "author", "username")
    return f"- {payload.join([payload.link(hash_text, payload.url(commit, 'url')), first], ' ')}" + (
        f" ({author})" if author else ""
    )


def count(number: int, what: str) -> str:
    """Return a number with a noun."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def color_of(state: str) -> str:
    """Return the colour of a state; neutral for others."""
    return COLORS.get(state, NEUTRAL)


def words(name: str) -> str:
    """Return the name of an event or an action as words."""
    return name.replace("_", " ").replace(".", " ")


def done(action: str) -> str:
    """Return what was done by an action, such as `opened` for GitLab's `open`."""
    return DONE.get(action, words(action))


def with_article(noun: str) -> str:
    """Return a noun with its article."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}" if noun else "something"
