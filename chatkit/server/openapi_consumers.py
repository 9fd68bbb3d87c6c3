"""The part of the OpenAPI document about consumers."""

from typing import Any, Final

from chatkit.core.consumer import MAX_WAIT_S, MIN_LEASE_S
from chatkit.core.consumer_state import MAX_LEASE_S, MAX_UNSETTLED
from chatkit.server.openapi_parts import (
    Json,
    error_responses,
    json_content,
    operation,
    parameter,
    responses_of,
    room_parameter,
    room_schema,
    sender_schema,
    summary_of,
)
from chatkit.wire.consumers import (
    ConsumerList,
    ConsumerRequest,
    ConsumerView,
    ExtendRequest,
    LeaseRequest,
    RetryRequest,
    TakenView,
)

STRUCTS: Final = (
    ConsumerList,
    ConsumerRequest,
    ConsumerView,
    ExtendRequest,
    LeaseRequest,
    RetryRequest,
    TakenView,
)
_LEASE: Final = "c3Vydmlfb3Jz"


def consumer_paths() -> dict[str, Json]:
    """Return the addresses of consumers."""
    path = "/rooms/{room}/consumers/{consumer}"
    return {
        "/consumers": {
            "get": operation("listAllConsumers", "List the consumers of all rooms", responses_of(ConsumerList, 503))
        },
        "/rooms/{room}/consumers": {
            "parameters": [room_parameter()],
            "get": operation(
                "listConsumers", "List the consumers of a room", responses_of(ConsumerList, 400, 404, 503)
            ),
        },
        path: {
            "parameters": _parameters(),
            "get": operation("showConsumer", "Show a consumer", responses_of(ConsumerView, 400, 404, 503)),
            "put": _put_operation(),
            "delete": operation(
                "deleteConsumer",
                "Delete a consumer",
                {"204": {"description": "The consumer was deleted."}, **error_responses(400, 404, 409, 503)},
                [_name()],
            ),
        },
        f"{path}/take": {"parameters": _parameters(), "post": _take_operation()},
        f"{path}/ack": _settle("ack", "Acknowledge messages of a lease", LeaseRequest, {"lease": _LEASE}),
        f"{path}/retry": _settle(
            "retry",
            "Report that messages of a lease have failed: they come again",
            RetryRequest,
            {"lease": _LEASE, "seqs": [42], "delay_s": 30, "reason": "no answer"},
        ),
        f"{path}/release": _settle(
            "release", "Give messages of a lease back without a failure", LeaseRequest, {"lease": _LEASE}
        ),
        f"{path}/extend": _settle(
            "extend", "Let a lease run out later", ExtendRequest, {"lease": _LEASE, "lease_s": 60}
        ),
    }


def _put_operation() -> Json:
    view = {"content": json_content(ConsumerView)}
    responses = {
        "201": {"description": "The consumer was made.", **view},
        "200": {"description": "The consumer was moved or changed.", **view},
        **error_responses(400, 404, 409, 413, 503),
    }
    put = operation("putConsumer", "Make a consumer, or move it and change its settings", responses, [_name()])
    return {**put, "requestBody": _body(ConsumerRequest, {"after": "start", "only_if_missing": True})}


def _take_operation() -> Json:
    lease = {"type": "number", "minimum": MIN_LEASE_S, "maximum": MAX_LEASE_S, "default": 30}
    parameters = [
        parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MAX_UNSETTLED, "default": 10}, ""),
        parameter("lease_s", "query", lease, "How long the messages are with this worker alone."),
        parameter(
            "wait_s",
            "query",
            {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
            "How long to wait if there is nothing to take.",
        ),
        _name(),
    ]
    return operation(
        "takeMessages", "Take the next messages for a while", responses_of(TakenView, 400, 404, 409, 503), parameters
    )


def _settle(name: str, summary: str, request: type, example: Json) -> Json:
    post = operation(f"{name}Messages", summary, responses_of(ConsumerView, 400, 404, 409, 413, 503), [_name()])
    return {"parameters": _parameters(), "post": {**post, "requestBody": _body(request, example)}}


def _body(request: type, example: Json) -> Json:
    described = summary_of(request)
    return {"required": True, "description": described, "content": json_content(request, example)}


def _parameters() -> list[Json]:
    consumer: dict[str, Any] = {**room_schema(), "example": "indexer"}
    return [room_parameter(), parameter("consumer", "path", consumer, "The consumer.")]


def _name() -> Json:
    return parameter("name", "query", sender_schema(), "The client's name, unless its token has one.")
