"""Any JSON is either refused as a client's fault or becomes a valid message, in a bounded time."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.core.model import DEFAULT_LIMITS, Draft
from chatkit.errors import BadInput
from chatkit.server.hooks.body import read_body
from chatkit.server.hooks.formats import HookFormat, convert, format_of
from chatkit.server.hooks.message import body_of, data_of

KEYS = (
    "text", "attachments", "blocks", "elements", "type", "fields", "title", "value", "style", "color", "ts", "actions",
    "url", "content", "embeds", "username", "icon_emoji", "timestamp", "author", "footer", "image", "description",
    "name", "alerts", "labels", "annotations", "status", "startsAt", "endsAt", "values", "orgId", "truncatedAlerts",
    "message",
    "commits", "ref", "repository", "sender", "action", "pull_request", "issue", "workflow_run", "number", "login",
    "id", "object_kind", "object_attributes", "project", "user", "total_commits_count", "builds", "short", "head",
    "base",
)  # fmt: skip
TEXTS = (
    "section", "rich_text", "rich_text_list", "rich_text_section", "header", "mrkdwn", "firing", "opened", "push",
    "*b* <http://a.b|c> ```x``` `y` ~z~ <!here> <t:99999999999999999:R> \x1b[31m",
    "2026-01-01T00:00:00Z", "http://a.b/(c)",
    "issue",
)  # fmt: skip
EVENTS = ("push", "pull_request", "issues", "workflow_run", "ping", "release", "Push Hook", "é\x00")

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8"), max_size=40)
keys = st.sampled_from(KEYS) | st.text(st.characters(codec="utf-8"), max_size=10)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=40,
)
headers = st.dictionaries(st.sampled_from(("x-github-event", "x-gitlab-event")), st.sampled_from(EVENTS), max_size=1)


@settings(max_examples=300, deadline=None)
@given(value=values, headers=headers, given_format=st.none() | st.sampled_from(HookFormat))
def test_any_json_is_refused_or_becomes_a_message(
    value: Any, headers: dict[str, str], given_format: HookFormat | None
) -> None:
    try:
        body = read_body("application/json", json.dumps(value).encode())
        hook_format = given_format or format_of(headers, body)
        message = convert(hook_format, headers, body, DEFAULT_LIMITS.data)
    except BadInput:
        return
    text, lines = body_of(message, DEFAULT_LIMITS.body)
    draft = Draft.new("ops", text, data=data_of(message, hook_format, lines, DEFAULT_LIMITS.data))
    assert draft.body
    assert not {"\x00", "\x1b"} & set(draft.body)
    assert lines <= draft.body.count("\n") + 1


@settings(max_examples=200, deadline=None)
@given(
    sent=st.binary(max_size=200) | st.sampled_from(TEXTS).map(str.encode),
    media_type=st.sampled_from(("", "application/json", "text/plain", "application/x-www-form-urlencoded")),
)
def test_any_bytes_are_refused_or_read(sent: bytes, media_type: str) -> None:
    try:
        body = read_body(media_type, sent)
        convert(format_of({}, body), {}, body, DEFAULT_LIMITS.data)
    except BadInput:
        return
