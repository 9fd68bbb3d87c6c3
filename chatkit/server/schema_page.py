"""`/schema`: the OpenAPI document as JSON, as YAML and as an HTML page that needs no script and no other server."""

import json
from html import escape
from typing import Any, Final

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler

from chatkit.server.access import AccessPolicy
from chatkit.server.admission import check_request
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.page import HEADERS, static_folder

Json = dict[str, Any]

JSON_TYPE: Final = "application/vnd.oai.openapi+json"
YAML_TYPE: Final = "application/vnd.oai.openapi+yaml"
POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_HEADERS: Final = {**HEADERS, "Content-Security-Policy": POLICY}


def schema_handlers(document: Json, policy: AccessPolicy) -> list[HTTPRouteHandler]:
    """Return the handlers of `/schema` and the addresses below it. Clients that may connect may read the document."""
    as_json = json.dumps(document, ensure_ascii=False)
    as_page = render(document)
    style = (static_folder() / "schema.css").read_text(encoding="utf-8")

    def answer(request: HttpRequest, text: str, media_type: str) -> Response[str]:
        policy.check_host(request.headers.get("host"))
        return Response(text, media_type=media_type, headers=PAGE_HEADERS)

    @get("/schema", guards=[check_request], sync_to_thread=False)
    def page(request: HttpRequest) -> Response[str]:
        return answer(request, as_page, MediaType.HTML)

    @get("/schema/openapi.json", guards=[check_request], sync_to_thread=False)
    def openapi_json(request: HttpRequest) -> Response[str]:
        return answer(request, as_json, JSON_TYPE)

    @get(["/schema/openapi.yaml", "/schema/openapi.yml"], guards=[check_request], sync_to_thread=False)
    def openapi_yaml(request: HttpRequest) -> Response[str]:
        return answer(request, as_json, YAML_TYPE)  # every JSON document is a YAML document

    @get("/schema/schema.css", sync_to_thread=False)
    def stylesheet(request: HttpRequest) -> Response[str]:
        return answer(request, style, "text/css")

    return [page, openapi_json, openapi_yaml, stylesheet]


def render(document: Json) -> str:
    """Return the document as an HTML page that describes every operation and every schema."""
    info = document["info"]
    base = "" if document["servers"][0]["url"] == "/" else document["servers"][0]["url"]
    operations = [
        _operation(method, base + path, operation, item.get("parameters", []), document)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    title = escape(f"{info['title']} {info['version']}")
    # The links are relative to /schema, which has no slash at its end.
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{title}: HTTP API</title><link rel="stylesheet" href="schema/schema.css"></head><body><main>'
        f"<h1>{title}</h1><p>{_text(info['description'])}</p>"
        '<p>This document as <a href="schema/openapi.json">JSON</a> or <a href="schema/openapi.yaml">YAML</a>.</p>'
        f"<h2>Operations</h2>{''.join(operations)}<h2>Schemas</h2>{''.join(schemas)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: Json, shared: list[Json], document: Json) -> str:
    parameters = [*shared, *operation.get("parameters", [])]
    body = operation.get("requestBody")
    parts = [
        (
            f'<section id="{escape(operation["operationId"])}"><h3><b class="method {method}">{method.upper()}</b> '
            f"<code>{escape(path)}</code></h3>"
            f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>"
        )
    ]
    if parameters:
        rows = [
            _row(
                f"<code>{escape(each['name'])}</code><small>{each['in']}</small>",
                each.get("description", ""),
                each["schema"],
            )
            for each in parameters
        ]
        parts.append(_table("Parameters", rows))
    if body:
        rows = [_row(f"<code>{kind}</code>", "", content["schema"]) for kind, content in body["content"].items()]
        parts.append(f"{_table('Body', rows)}<p>{_text(body['description'])}</p>")
    rows = [_response(status, response, document) for status, response in sorted(operation["responses"].items())]
    return "".join([*parts, _table("Responses", rows), "</section>"])


def _response(status: str, response: Json, document: Json) -> str:
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    kinds = ", ".join(
        f"<code>{kind}</code> {_kind(content['schema'])}" for kind, content in response.get("content", {}).items()
    )
    return f"<tr><th>{status}</th><td>{_text(response['description'])}</td><td>{kinds}</td></tr>"


def _schema(name: str, schema: Json) -> str:
    required = schema.get("required", [])
    rows = [
        _row(f"<code>{escape(key)}</code>{'' if key in required else '<small>optional</small>'}", "", value)
        for key, value in schema.get("properties", {}).items()
    ]
    about = _text(schema.get("description", ""))
    return f'<section id="{name}"><h3><code>{name}</code></h3><p>{about}</p>{_table("", rows)}</section>'


def _row(name: str, description: str, schema: Json) -> str:
    about = _text(description or schema.get("description", ""))
    return f"<tr><th>{name}</th><td>{about}</td><td>{_kind(schema)}</td></tr>"


def _table(caption: str, rows: list[str]) -> str:
    heading = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="wide"><table>{heading}<tbody>{"".join(rows)}</tbody></table></div>'


def _kind(schema: Json) -> str:
    """Return the type of a value in a few words, with a link if the page describes it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema and "properties" not in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kinds = schema.get("type", "any")
    words = " or ".join(kinds) if isinstance(kinds, list) else kinds
    notes = [
        f"{key} {schema[key]}" for key in ("format", "pattern", "minimum", "maximum", "maxLength") if key in schema
    ]
    return escape(", ".join([words, *notes]))


def _text(text: str) -> str:
    """Return prose as HTML, with the text between backticks as code."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
