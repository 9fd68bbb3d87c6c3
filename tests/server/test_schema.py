"""The OpenAPI document describes the server correctly and completely; OPTIONS, 405 and 304 are answered correctly."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from json_schema import part_of
from litestar.routes import HTTPRoute
from page_window import chromium
from raw_client import call, publish
from serving import ServerProcess, serve

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.core.model import check_room, check_sender
from chatkit.errors import BadName
from chatkit.server.app import create_app
from chatkit.server.openapi_parts import CURSOR_PATTERN, ROOM_PATTERN, SENDER_PATTERN
from chatkit.server.settings import Settings

TOKEN = "eight-or-more"
DOCUMENTS = ("/schema", "/schema/openapi.json", "/schema/openapi.yaml", "/schema/asyncapi.json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve("memory://", "--secret", TOKEN, folder=tmp_path_factory.mktemp("schema")) as started:
        yield started


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> dict[str, Any]:
    found = call(server, "GET", "/schema/openapi.json", Authorization=f"Bearer {TOKEN}")
    assert found.headers["content-type"] == "application/vnd.oai.openapi+json"
    return dict(found.json)


def test_exactly_the_calls_of_the_api_are_described(document: dict[str, Any]) -> None:
    routes = create_app(Settings(), Hub(MemoryBackend())).routes
    served = {
        (method.lower(), re.sub(r":\w+}", "}", route.path))
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method != "OPTIONS" and not route.path.startswith(("/schema", "/static", "/client.js")) and route.path != "/"
    }
    described = {
        (method, path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert described == served


def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    for reference in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))):
        assert part_of(document, reference)


def test_publishing_is_described_with_its_body_its_errors_and_its_media_types(document: dict[str, Any]) -> None:
    publishing = document["paths"]["/rooms/{room}/messages"]["post"]
    assert set(publishing["requestBody"]["content"]) == {"application/json", "text/plain"}
    assert {"200", "201", "400", "401", "403", "413", "429", "503"} <= set(publishing["responses"])
    for answer in document["components"]["responses"].values():
        assert set(answer["content"]) == {"application/problem+json"}
    schema = document["components"]["schemas"]["PublishRequest"]
    assert set(schema["properties"]) == {"body", "data", "key", "of", "act"}
    assert document["security"] == [{"bearer": []}, {"query": []}, {"cookie": []}]


def test_a_generated_client_has_one_class_for_each_body_and_one_function_for_each_operation(
    document: dict[str, Any],
) -> None:
    operations = [
        (path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    names = [operation["operationId"] for _, operation in operations]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    for path, operation in operations:
        assert {"200", "201", "204"} & set(operation["responses"]), path
        parameters = [*document["paths"][path].get("parameters", ()), *operation.get("parameters", ())]
        in_path = {each["name"] for each in parameters if each["in"] == "path" and each["required"]}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        media_types = [body["content"] for body in bodies if "application/json" in body.get("content", {})]
        for schema in (each["application/json"]["schema"] for each in media_types):
            name = schema["$ref"].removeprefix("#/components/schemas/")
            assert document["components"]["schemas"][name]["type"] == "object"
            # A generator makes one class of each of these, none with all properties.
            assert not {"anyOf", "oneOf", "allOf"} & set(document["components"]["schemas"][name])


def test_errors_and_times_of_answers_are_typed(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Problem"]["required"] == ["code", "title", "status", "detail"]
    assert schemas["WireMessage"]["properties"]["time"] == {"type": "string", "format": "date-time"}
    assert {"type": "string", "format": "date-time"} in schemas["TokenView"]["properties"]["expires"]["anyOf"]


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"body": "x"}, True),
        ({"data": 0}, True),
        ({"body": None, "data": {}}, True),
        ({"body": "x", "data": None}, True),
        ({}, False),
        ({"key": "k"}, False),
        ({"body": None, "data": None}, False),
    ],
)
def test_the_described_body_of_a_message_is_the_accepted_one(
    server: ServerProcess, document: dict[str, Any], body: dict[str, object], is_valid: bool
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    answer = call(server, "POST", "/rooms/bodies/messages", json.dumps(body), **headers)
    assert answer.status == (201 if is_valid else 400)
    absent = document["components"]["schemas"]["PublishRequest"]["not"]["properties"]
    assert absent == {"body": {"type": "null"}, "data": {"type": "null"}}
    assert is_valid == any(body.get(name) is not None for name in absent)


def test_the_token_is_described_as_optional_if_the_server_needs_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serve("memory://", folder=tmp_path_factory.mktemp("open")) as server:
        assert call(server, "GET", "/schema/openapi.json").json["security"][0] == {}


def test_the_pattern_of_cursors_matches_a_real_cursor(server: ServerProcess) -> None:
    cursor = call(server, "GET", "/rooms/a", Authorization=f"Bearer {TOKEN}").json["cursor"]
    assert re.match(CURSOR_PATTERN, cursor)


def test_an_invalid_key_in_the_body_is_refused_even_if_the_header_has_a_valid_one(server: ServerProcess) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json", "Idempotency_Key": "k"}
    answer = call(server, "POST", "/rooms/a/messages", json.dumps({"body": "x", "key": "ä"}), **headers)
    assert answer.problem == (400, "bad-key")


def test_the_page_shows_every_call_and_message_and_runs_no_script(
    server: ServerProcess, document: dict[str, Any]
) -> None:
    socket = call(server, "GET", "/schema/asyncapi.json", Authorization=f"Bearer {TOKEN}")
    assert socket.headers["content-type"] == "application/vnd.aai.asyncapi+json"
    answer = call(server, "GET", f"/schema?token={TOKEN}")
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"<script" not in answer.body
    loaded = re.findall(rb"""(?:src|href)\s*=\s*["']?([^"'\s>]*)""", answer.body)
    assert not [address for address in loaded if b"//" in address]
    requests: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{server.url}/schema?token={TOKEN}")
        shown = page.inner_text("main")
        radius = page.evaluate("getComputedStyle(document.querySelector('section')).borderRadius")
        sections = page.evaluate("[...document.querySelectorAll('section')].map(each => each.id)")
        links = page.evaluate("[...document.querySelectorAll('main a[href^=\\'#\\']')].map(each => each.hash.slice(1))")
        width = page.evaluate("document.documentElement.scrollWidth")
    assert all(path in shown for path in document["paths"])
    assert set(socket.json["components"]["messages"]) <= set(sections)
    assert len(set(sections)) == len(sections)
    assert set(links) <= {*sections, "http", "schemas", "websocket"}
    assert width == 390
    assert radius != "0px", "the page has no style"
    assert all(url.startswith(server.url) for url in requests)


def test_the_document_is_refused_for_another_host(server: ServerProcess) -> None:
    for path in DOCUMENTS:
        assert call(server, "GET", path, Host="rebind.evil").problem == (403, "forbidden")


def test_the_document_needs_a_token_if_the_server_does(server: ServerProcess) -> None:
    for path in DOCUMENTS:
        assert call(server, "GET", path).problem == (401, "unauthorized")


# HTTP basics


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/rooms", "GET, HEAD, OPTIONS"),
        ("/rooms/a/messages", "GET, HEAD, OPTIONS, POST"),
        ("/rooms/a/messages/1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/tokens", "GET, HEAD, OPTIONS, POST"),
        ("/session", "DELETE, OPTIONS, POST"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/schema/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_and_405_list_every_method(server: ServerProcess, path: str, methods: str) -> None:
    answer = call(server, "OPTIONS", path)
    assert (answer.status, answer.headers["allow"], answer.body) == (204, methods, b"")
    refused = call(server, "PUT", path)
    assert refused.problem == (405, "method-not-allowed")
    assert refused.headers["allow"] == methods


def test_an_unchanged_file_is_answered_with_304(server: ServerProcess) -> None:
    for path in ("/", "/static/app.js"):
        first = call(server, "GET", path)
        tag = first.headers["etag"]
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = call(server, "GET", path, If_None_Match=given)
            assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
        assert call(server, "GET", path, If_None_Match='"other"').status == 200
        assert call(server, "HEAD", path, If_None_Match=tag).status == 304


def test_the_example_of_the_document_can_be_published(server: ServerProcess, document: dict[str, Any]) -> None:
    operation = document["paths"]["/rooms/{room}/messages"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert operation["operationId"] == "publish"
    path = "/rooms/{room}/messages".format(room="generated")
    headers = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
    assert call(server, "POST", path, json.dumps(example), **headers).status == 201
    assert publish(server, "generated", "x").status == 401


@pytest.mark.parametrize(("pattern", "check"), [(ROOM_PATTERN, check_room), (SENDER_PATTERN, check_sender)])
def test_the_patterns_of_names_allow_every_kind_of_character_that_the_server_accepts(
    pattern: str, check: Callable[[str], str]
) -> None:
    listed = set(re.findall(r"\\p\{(\w+)\}", pattern))
    for char in "aAﬀʰ中ँा⃝5Ⅷ½":  # of the categories Ll, Lu, Lm, Lo, Mn, Mc, Me, Nd, Nl and No
        category = unicodedata.category(char)
        try:
            check(f"a{char}")
        except BadName:
            continue
        assert listed & {category, category[0]}, category
