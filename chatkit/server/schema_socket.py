"""The part of the page at `/schema` about the WebSocket, drawn from the AsyncAPI document."""

from html import escape
from typing import Any

from chatkit.server.schema_html import examples, kind_of, name_of, parameter_row, property_rows, row, table, text

Json = dict[str, Any]


def render_socket(document: Json, described: set[str]) -> str:
    """Return the channels, messages and close codes as HTML, and the schemas that the page does not describe yet."""
    parts = document["components"]
    messages = [
        _message(name, message, document["operations"], parts["schemas"]) for name, message in parts["messages"].items()
    ]
    payloads = {name_of(each["payload"]) for each in parts["messages"].values() if "$ref" in each["payload"]}
    schemas = [
        _section(name, f"<code>{escape(name)}</code>", schema.get("description", ""), schema)
        for name, schema in parts["schemas"].items()
        if name not in payloads | described
    ]
    channels = [_channel(name, channel) for name, channel in document["channels"].items()]
    return (
        f"<p>{text(document['info']['description'])}</p>"
        f"{''.join(channels)}{''.join(messages)}{''.join(schemas)}{_close_codes(document['x-close-codes'])}"
    )


def _channel(name: str, channel: Json) -> str:
    request = channel["bindings"]["ws"]
    rows = [
        parameter_row(each, where, "", schema)
        for where, key in (("query", "query"), ("header", "headers"))
        for each, schema in request[key]["properties"].items()
    ]
    return (
        f'<section id="channel-{name}"><h3><b class="method">WS</b> <code>{escape(channel["address"])}</code></h3>'
        f"<p>{text(channel['summary'])}</p>{table('Parameters', rows)}</section>"
    )


def _message(name: str, message: Json, operations: Json, schemas: Json) -> str:
    payload = message["payload"]
    schema = schemas[name_of(payload)] if "$ref" in payload else payload
    title = f'<b class="method">{_direction(name, operations)}</b> <code>{escape(message["name"])}</code>'
    about = schema.get("description", message["summary"])
    notes = _answers(name, operations) + examples("Examples", [each["payload"] for each in message["examples"]])
    return _section(name, title, about, schema, notes)


def _direction(name: str, operations: Json) -> str:
    actions = {each["action"] for each in operations.values() if name in map(name_of, each["messages"])}
    return "both" if len(actions) > 1 else {"receive": "command", "send": "event"}[actions.pop()]


def _answers(name: str, operations: Json) -> str:
    replies = [
        each["reply"]["messages"]
        for each in operations.values()
        if "reply" in each and name in map(name_of, each["messages"])
    ]
    return f"<p>Answered by {' or '.join(map(kind_of, replies[0]))}.</p>" if replies else ""


def _section(name: str, title: str, about: str, schema: Json, notes: str = "") -> str:
    rows = property_rows(schema) or [row("frame", "", schema)]
    return f'<section id="{name}"><h3>{title}</h3><p>{text(about)}</p>{notes}{table("", rows)}</section>'


def _close_codes(codes: list[Json]) -> str:
    rows = [
        f"<tr><th>{each['code']}</th><td>{text(each['meaning'])}</td><td>{each['reconnect']}</td></tr>"
        for each in codes
    ]
    caption = "The code, its meaning, and whether a client reconnects automatically"
    return f'<section id="close-codes"><h3>Close codes</h3>{table(caption, rows)}</section>'
