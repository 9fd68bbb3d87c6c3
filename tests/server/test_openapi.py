"""Each operation of the OpenAPI document states its security, its errors with their codes, and correct examples."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from access_server import ROOT, AccessServer, access_server, grant
from json_schema import part_of, without_patterns
from jsonschema import Draft202012Validator
from raw_client import run

from chatkit.core.model import DEFAULT_LIMITS, Draft
from chatkit.server import openapi_access, openapi_consumers, openapi_messages, openapi_webhooks
from chatkit.server.openapi import STRUCTS, openapi_document
from chatkit.wire.codes import status_of
from chatkit.wire.http import Problem

DOCUMENT = openapi_document(DEFAULT_LIMITS, "", needs_token=True)
KINDS = {
    kind.__name__: kind
    for kind in (
        *STRUCTS,
        *openapi_access.STRUCTS,
        *openapi_consumers.STRUCTS,
        *openapi_messages.STRUCTS,
        *openapi_webhooks.STRUCTS,
    )
}
VALUES = {
    "token_id": "aaaaaaaaaa",
    "webhook_id": "k3f9x2m4qa",
    "ban_id": "aaaaaaaaaa",
    "seq": "1",
    "emoji": ":tada:",
    "consumer": "indexer",
}
VALUES |= {"token": f"ck_{'a' * 10}_{'A' * 43}", "format": "slack"}
FOREIGN = {"HookPayload", "DiscordMessage", "McpRequest", "McpAnswer"}  # whose types are those of others
WRONG = "\u202e"  # no name, number, cursor or time


class Operation(NamedTuple):
    """An operation with the parameters of its path."""

    method: str
    path: str
    spec: dict[str, Any]
    parameters: list[dict[str, Any]]

    def __str__(self) -> str:
        return str(self.spec["operationId"])

    def codes(self) -> dict[int, set[str]]:
        """Return the codes of errors by status."""
        referred = {status: each["$ref"] for status, each in self.spec["responses"].items() if "$ref" in each}
        return {
            int(status): set(part_of(DOCUMENT, reference)["content"]["application/problem+json"]["examples"])
            for status, reference in referred.items()
        }

    def contents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Iterate over the bodies of requests and successful answers: each media type and what is said about it."""
        answers = [each for each in self.spec["responses"].values() if "$ref" not in each]
        for body in (self.spec.get("requestBody", {}), *answers):
            yield from body.get("content", {}).items()


OPERATIONS = [
    Operation(method, path, spec, [*item.get("parameters", []), *spec.get("parameters", [])])
    for path, item in DOCUMENT["paths"].items()
    for method, spec in item.items()
    if method != "parameters"
]


COMPONENTS = without_patterns(DOCUMENT["components"])


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_states_its_security_its_errors_and_examples(operation: Operation) -> None:
    required = operation.spec.get("security", DOCUMENT["security"])
    assert required
    assert {name for each in required for name in each} <= set(DOCUMENT["components"]["securitySchemes"])
    codes = operation.codes()
    if operation.path != "/health":
        assert {401, 403, 429} <= set(codes)
    assert all(codes.values())
    assert all("example" in content for _, content in operation.contents())
    if operation.method == "get":
        assert not {"bot-loop", "version-conflict"} & set().union(*codes.values())


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_examples_are_decoded_to_the_types_of_the_api_and_follow_their_schemas(operation: Operation) -> None:
    for media_type, content in operation.contents():
        if media_type != "application/json":
            assert isinstance(content["example"], str)
            continue
        schema = {**content["schema"], "components": COMPONENTS}
        plain = json.loads(json.dumps(content["example"]))
        Draft202012Validator(schema).validate(plain)
        name = content["schema"]["$ref"].rpartition("/")[2]
        if name not in FOREIGN:
            msgspec.convert(plain, KINDS[name])
            assert set(plain) <= set(KINDS[name].__struct_fields__)


@pytest.mark.parametrize(("code", "example"), [(code, each["value"]) for code, each in COMPONENTS["examples"].items()])
def test_an_example_of_an_error_has_its_code_and_status(code: str, example: Any) -> None:
    problem = msgspec.convert(example, Problem)
    error = problem.to_error()
    assert (problem.code, problem.status) == (error.code, status_of(error)) == (code, example["status"])
    assert example["detail"]


def requests(operation: Operation, n: int) -> Iterator[tuple[str, dict[str, str], str | None, bool]]:
    """Iterate over requests that are refused, or would be: path, query, body, and whether they have a token."""
    names = {each["name"]: each for each in operation.parameters}
    rooms = ["bad room", f"old{n}", "empty"] if "room" in names else [""]
    body = "{}" if "requestBody" in operation.spec else None
    query = {each["name"]: WRONG for each in operation.parameters if each["in"] == "query"}
    for room in rooms:
        path = operation.path.format(**VALUES, room=room)
        if operation.path.endswith("/events") and room == "empty":
            continue  # a stream without an end
        yield path, {}, body, True
    for name, value in query.items():
        yield path, {name: value}, body, True
    for broken in ("{", "[]", '{"unknown": 1}', '"' + "x" * 2_000_000 + '"') if body else ():
        yield path, {}, broken, True
    yield path, {}, body, False


async def refusals(server: AccessServer, operation: Operation, n: int, secret: str) -> Iterator[tuple[int, str]]:
    """Return the errors of an operation for requests that cannot be carried out."""
    await server.hub.publish(Draft(f"old{n}", "ann", "hi"))
    await server.moderation.rename_room(ROOT, f"old{n}", f"new{n}")
    found: set[tuple[int, str]] = set()
    for path, query, body, has_token in requests(operation, n):
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {secret}"} if has_token else {})
        answer = await server.http.request(operation.method, path, params=query, content=body, headers=headers)
        is_foreign = operation.path == "/mcp" and "jsonrpc" in answer.json()  # errors of the protocol itself
        if answer.status_code >= 400 and operation.path != "/health" and not is_foreign:
            found.add((answer.status_code, answer.json()["code"]))
    return iter(found)


def test_refused_requests_are_answered_with_errors_that_the_operation_states() -> None:
    async def check() -> None:
        async with access_server() as server:
            root = await server.token("root", grant("*", "admin"))
            seen: set[str] = set()
            for n, operation in enumerate(OPERATIONS):
                stated = operation.codes()
                for status, code in await refusals(server, operation, n, root.secret):
                    assert code in stated.get(status, ()), f"{operation}: {status} {code}"
                    seen.add(code)
            assert {"unauthorized", "bad-request", "bad-room", "bad-cursor", "not-found", "room-renamed"} <= seen

    run(check())
