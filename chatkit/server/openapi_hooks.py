"""The part of the OpenAPI document about incoming webhooks."""

from typing import Any, Final

from chatkit.server.hooks.formats import HookFormat
from chatkit.server.openapi_parts import JSON, Json, error_responses, key_schema, operation, parameter

FORM: Final = "application/x-www-form-urlencoded"
TOKEN: Final = {"type": "string", "pattern": "^ck_[a-z0-9]{8,12}_[A-Za-z0-9_-]{43}$"}
NO_TOKEN: Final[dict[str, Any]] = {"security": [{}]}  # the URL holds it
DESCRIPTION: Final = (
    "The payload of Slack, Discord, Alertmanager, Grafana, GitHub or GitLab, or any JSON, or text. "
    "The `Content-Type` is read leniently."
)


def hook_paths() -> dict[str, Json]:
    """Return the addresses of incoming webhooks."""
    token = parameter("token", "path", TOKEN, "The token of a hook, which names the room.")
    hook_format = parameter("format", "path", {"type": "string", "enum": [*HookFormat]}, "The format of the payload.")
    return {
        "/hooks/{token}": {"parameters": [token], **_operations("")},
        "/hooks/{token}/{format}": {"parameters": [token, hook_format], **_operations("As")},
    }


def hook_schemas() -> dict[str, Json]:
    """Return the schemas of a payload, and of the message that is returned to senders in Discord's format."""
    payload = "What the service sends; also any other JSON value."
    message = {"id": {"type": "string"}, "content": {"type": "string"}, "timestamp": {"type": "string"}}
    return {
        "HookPayload": {"title": "HookPayload", "type": "object", "description": payload},
        "DiscordMessage": {"title": "DiscordMessage", "type": "object", "properties": message},
    }


def _operations(suffix: str) -> Json:
    return {method: _operation(f"{name}{suffix}") for method, name in (("post", "receiveHook"), ("put", "putHook"))}


def _operation(name: str) -> Json:
    sent: Json = {"schema": {"$ref": "#/components/schemas/HookPayload"}, "example": {"text": "deployed"}}
    form = {"schema": {"type": "object", "properties": {"payload": {"type": "string"}}}}
    body = {
        "required": True,
        "description": DESCRIPTION,
        "content": {JSON: sent, FORM: form, "text/plain": {"schema": {"type": "string", "minLength": 1}}},
    }
    ok = {"schema": {"type": "string", "const": "ok"}}
    message = {"schema": {"$ref": "#/components/schemas/DiscordMessage"}}
    responses = {
        "200": {
            "description": "The message is committed. With Discord's format and `wait`, the message as Discord has it.",
            "content": {"text/plain": ok, JSON: message},
        },
        "204": {"description": "The message is committed: the answer to Discord's format."},
        **error_responses(400, 404, 409, 413, 503),
    }
    parameters = [
        parameter("wait", "query", {"type": "boolean", "default": False}, "With Discord's format: return the message."),
        parameter("Idempotency-Key", "header", key_schema(), "Repeated requests store the message once."),
        parameter("X-GitHub-Event", "header", {"type": "string"}, "The event of GitHub."),
        parameter("X-Gitlab-Event", "header", {"type": "string"}, "The event of GitLab."),
        parameter("X-Hub-Signature-256", "header", {"type": "string"}, "Needed if the hook has a signing secret."),
    ]
    described = operation(name, "Publish what another service reports", responses, parameters)
    return {**described, **NO_TOKEN, "requestBody": body}
