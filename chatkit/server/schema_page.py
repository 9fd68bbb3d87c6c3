"""`/schema`: the OpenAPI and AsyncAPI documents, and both as an HTML page that needs no script and no other server."""

import json
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any, Final, NamedTuple

from litestar import MediaType, Response, get

from chatkit.server.admission import Admission, check_request
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.page import HEADERS, static_folder
from chatkit.server.schema_html import examples, kind_of, name_of, parameter_row, property_rows, row, table, text
from chatkit.server.schema_socket import render_socket

Json = dict[str, Any]

JSON_TYPE: Final = "application/vnd.oai.openapi+json"
YAML_TYPE: Final = "application/vnd.oai.openapi+yaml"
ASYNC_TYPE: Final = "application/vnd.aai.asyncapi+json"
POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_HEADERS: Final = {**HEADERS, "Content-Security-Policy": POLICY}


class Texts(NamedTuple):
    """What is served below `/schema`."""

    openapi: str
    asyncapi: str
    page: str


def make_texts(documents: Callable[[], tuple[Json, Json]]) -> Texts:
    """Return the texts for an OpenAPI and an AsyncAPI document.

    This takes 40 ms of processor time, half as much as everything else at the start of a server: it is done in a thread
    at the first request.
    """
    openapi, asyncapi = documents()
    return Texts(
        json.dumps(openapi, ensure_ascii=False),
        json.dumps(asyncapi, ensure_ascii=False),
        render(openapi, asyncapi),
    )


@get("/schema", guards=[check_request], sync_to_thread=True)
def page(request: HttpRequest) -> Response[str]:
    """Answer with both documents as a page, for clients that may connect."""
    return _answer(request, _texts(request).page, MediaType.HTML)


@get("/schema/openapi.json", guards=[check_request], sync_to_thread=True)
def openapi_json(request: HttpRequest) -> Response[str]:
    """Answer with the OpenAPI document."""
    return _answer(request, _texts(request).openapi, JSON_TYPE)


@get(["/schema/openapi.yaml", "/schema/openapi.yml"], guards=[check_request], sync_to_thread=True)
def openapi_yaml(request: HttpRequest) -> Response[str]:
    """Answer with the OpenAPI document, because every JSON document is a YAML document."""
    return _answer(request, _texts(request).openapi, YAML_TYPE)


@get("/schema/asyncapi.json", guards=[check_request], sync_to_thread=True)
def asyncapi_json(request: HttpRequest) -> Response[str]:
    """Answer with the AsyncAPI document."""
    return _answer(request, _texts(request).asyncapi, ASYNC_TYPE)


@get("/schema/schema.css", sync_to_thread=True)
def stylesheet(request: HttpRequest) -> Response[str]:
    """Answer with the stylesheet of the page."""
    return _answer(request, _style(), "text/css")


schema_handlers = (page, openapi_json, openapi_yaml, asyncapi_json, stylesheet)


def _texts(request: HttpRequest) -> Texts:
    texts: Texts = request.app.state.schema_texts()
    return texts


@cache
def _style() -> str:
    return (static_folder() / "schema.css").read_text(encoding="utf-8")


def _answer(request: HttpRequest, content: str, media_type: str) -> Response[str]:
    admission: Admission = request.app.state.admission
    admission.policy.check_host(request.headers.get("host"))
    return Response(content, media_type=media_type, headers=PAGE_HEADERS)


def render(document: Json, asyncapi: Json) -> str:
    """Return the documents as one HTML page that describes every operation, message and schema."""
    info = document["info"]
    base = "" if document["servers"][0]["url"] == "/" else document["servers"][0]["url"]
    operations = [
        _operation(method, base + path, operation, item.get("parameters", []), document)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    described = document["components"]["schemas"]
    schemas = [_schema(name, schema) for name, schema in described.items()]
    title = escape(f"{info['title']} {info['version']}")
    # The links are relative to /schema, which has no slash at its end.
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{title}: HTTP and WebSocket</title><link rel="stylesheet" href="schema/schema.css"></head><body><main>'
        f"<h1>{title}</h1>"
        '<nav><a href="#http">HTTP</a> <a href="#schemas">Schemas</a> <a href="#websocket">WebSocket</a></nav>'
        '<p>For programs: OpenAPI as <a href="schema/openapi.json">JSON</a> or <a href="schema/openapi.yaml">YAML</a>, '
        'and <a href="schema/asyncapi.json">AsyncAPI</a>.</p>'
        f'<h2 id="http">HTTP</h2><p>{text(info["description"])}</p>{"".join(operations)}'
        f'<h2 id="schemas">Schemas</h2>{"".join(schemas)}'
        f'<h2 id="websocket">WebSocket</h2>{render_socket(asyncapi, set(described))}</main></body></html>'
    )


def _operation(method: str, path: str, operation: Json, shared: list[Json], document: Json) -> str:
    parameters = [*shared, *operation.get("parameters", [])]
    body = operation.get("requestBody")
    parts = [
        (
            f'<section id="{escape(operation["operationId"])}"><h3><b class="method {method}">{method.upper()}</b> '
            f"<code>{escape(path)}</code></h3>"
            f"<p>{text(operation['summary'])}. {text(operation.get('description', ''))}</p>"
        )
    ]
    rows = [parameter_row(each["name"], each["in"], each.get("description", ""), each["schema"]) for each in parameters]
    parts.append(table("Parameters", rows))
    if body:
        rows = [row(f"<code>{kind}</code>", "", content["schema"]) for kind, content in body["content"].items()]
        parts.append(f"{table('Body', rows)}<p>{text(body['description'])}</p>")
        parts.append(examples("Example of a body", _examples(body)))
    answers = {status: _resolved(each, document) for status, each in operation["responses"].items()}
    parts.append(table("Responses", [_response(status, answer) for status, answer in answers.items()]))
    successes = [answer for status, answer in answers.items() if status < "300"][:1]
    parts.extend(examples("Example of an answer", _examples(each)) for each in successes)
    return "".join([*parts, "</section>"])


def _resolved(response: Json, document: Json) -> Json:
    resolved: Json = document["components"]["responses"][name_of(response)] if "$ref" in response else response
    return resolved


def _examples(described: Json) -> list[Any]:
    return [each["example"] for each in described.get("content", {}).values() if "example" in each]


def _response(status: str, response: Json) -> str:
    content = response.get("content", {})
    kinds = ", ".join(f"<code>{kind}</code> {kind_of(each['schema'])}" for kind, each in content.items())
    codes = " ".join(f"<code>{code}</code>" for each in content.values() for code in each.get("examples", ()))
    return f"<tr><th>{status} {codes}</th><td>{text(response['description'])}</td><td>{kinds}</td></tr>"


def _schema(name: str, schema: Json) -> str:
    about = text(schema.get("description", ""))
    rows = property_rows(schema) or [row("value", "", schema)]
    return f'<section id="{name}"><h3><code>{name}</code></h3><p>{about}</p>{table("", rows)}</section>'
