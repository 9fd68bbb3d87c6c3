"""The formats that webhooks may have, and the choice among them: by the URL, by a header, or by the payload's keys."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, assert_never

from chatkit.errors import BadRequest
from chatkit.server.hooks import alertmanager, discord, github, gitlab, grafana, payload, slack, unknown
from chatkit.server.hooks.body import JsonBody, TextBody
from chatkit.server.hooks.message import HookMessage


class HookFormat(StrEnum):
    """The format of a payload."""

    SLACK = "slack"
    DISCORD = "discord"
    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    GITHUB = "github"
    GITLAB = "gitlab"
    JSON = "json"
    TEXT = "text"


def format_of(headers: Mapping[str, str], body: JsonBody | TextBody) -> HookFormat:
    """Return the format of a request whose URL does not name one."""
    if isinstance(body, TextBody):
        return HookFormat.TEXT
    if "x-github-event" in headers:
        return HookFormat.GITHUB
    if "x-gitlab-event" in headers:
        return HookFormat.GITLAB
    return _format_of_value(body.value)


def _format_of_value(value: Any) -> HookFormat:
    def has(kind: type, *keys: str) -> bool:
        return any(isinstance(payload.get(value, key), kind) for key in keys)

    if has(list, "alerts"):
        return HookFormat.GRAFANA if has(int, "orgId") else HookFormat.ALERTMANAGER
    if has(list, "attachments", "blocks") or (has(str, "text") and not has(list, "embeds")):
        return HookFormat.SLACK
    if has(str, "content") or has(list, "embeds"):
        return HookFormat.DISCORD
    return HookFormat.JSON


def convert(
    hook_format: HookFormat, headers: Mapping[str, str], body: JsonBody | TextBody, max_data_bytes: int
) -> HookMessage:
    """Return the message of a request. Raise `BadRequest` if its body cannot have this format, or says nothing."""
    if isinstance(body, JsonBody):
        message = _convert_value(hook_format, headers, body.value, max_data_bytes)
    elif hook_format is HookFormat.TEXT:
        message = HookMessage(payload.clean(body.text))
    else:
        raise BadRequest("the body is not JSON")
    if message.is_empty:
        raise BadRequest("no_text: there is nothing to show in this payload")  # begins as Slack's answer
    return message


def _convert_value(  # noqa: PLR0911 - a table of cases
    hook_format: HookFormat, headers: Mapping[str, str], value: Any, max_data_bytes: int
) -> HookMessage:
    match hook_format:
        case HookFormat.SLACK:
            return slack.convert(value)
        case HookFormat.DISCORD:
            return discord.convert(value)
        case HookFormat.ALERTMANAGER:
            return alertmanager.convert(value)
        case HookFormat.GRAFANA:
            return grafana.convert(value)
        case HookFormat.GITHUB:
            return github.convert(value, payload.line(dict(headers), "x-github-event") or "event")
        case HookFormat.GITLAB:
            return gitlab.convert(value, payload.line(dict(headers), "x-gitlab-event"))
        case HookFormat.JSON | HookFormat.TEXT:
            return unknown.convert(value, max_data_bytes)
        case _:
            assert_never(hook_format)
