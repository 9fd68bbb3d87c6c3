"""The AsyncAPI document is valid, complete, and describes what the protocol encodes, decodes and answers."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from harness import publish_all, until
from json_schema import part_of, without_patterns
from jsonschema import Draft7Validator
from session_host import Client, Host, hosted

from chatkit.core.model import DEFAULT_LIMITS
from chatkit.server.asyncapi import ANSWERS, CLOSE_CODES, asyncapi_document, reconnects
from chatkit.server.asyncapi_examples import COMMANDS
from chatkit.wire.codes import PrivateCloseCode
from chatkit.wire.protocol import (
    AnyCommand,
    AnyEvent,
    Ref,
    WireGap,
    WireMessage,
    decode_command,
    decode_event,
    encode,
)

ROOT = Path(__file__).parents[2]
SPECIFICATION = ROOT / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
DOCUMENT = asyncapi_document(DEFAULT_LIMITS, "/chat", needs_token=True)
COMMAND_TYPES = get_args(AnyCommand)
EVENT_TYPES = get_args(AnyEvent)


def examples() -> list[tuple[str, Any]]:
    messages = DOCUMENT["components"]["messages"]
    return [(name, each["payload"]) for name, message in messages.items() for each in message["examples"]]


def test_the_document_follows_the_schema_of_asyncapi() -> None:
    validator = Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8")))
    for needs_token in (True, False):
        document = json.loads(json.dumps(asyncapi_document(DEFAULT_LIMITS, "", needs_token=needs_token)))
        assert [error.message for error in validator.iter_errors(document)] == []
    assert not validator.is_valid({**document, "channels": {"room": {"adress": "/ws"}}})


def answers(client: Client, ref: Ref | None) -> list[dict[str, Any]]:
    return [event for event in client.socket.events if event.get("ref") == ref]


def test_every_reference_has_a_target() -> None:
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))
    assert len(references) > 100
    assert all(part_of(DOCUMENT, reference) for reference in references)


@pytest.mark.parametrize("channel", ["room", "rooms"])
def test_every_command_and_event_is_in_the_channels_and_operations_of_the_subprotocol(channel: str) -> None:
    names = {kind.__name__ for kind in (*COMMAND_TYPES, *EVENT_TYPES)}
    assert set(DOCUMENT["channels"][channel]["messages"]) == names
    here = [each for each in DOCUMENT["operations"].values() if each["channel"] == {"$ref": f"#/channels/{channel}"}]
    for action, kinds in (("receive", COMMAND_TYPES), ("send", EVENT_TYPES)):
        messages = [message["$ref"] for each in here if each["action"] == action for message in each["messages"]]
        assert messages == [f"#/channels/{channel}/messages/{kind.__name__}" for kind in kinds]


def test_every_message_has_examples() -> None:
    assert all(message["examples"] for message in DOCUMENT["components"]["messages"].values())


@pytest.mark.parametrize(("name", "payload"), examples())
def test_an_example_is_decoded_to_its_type_without_loss_and_follows_its_schema(name: str, payload: Any) -> None:
    schema = {**DOCUMENT["components"]["messages"][name]["payload"], "components": DOCUMENT["components"]}
    Draft7Validator(without_patterns(schema)).validate(json.loads(json.dumps(payload)))
    frame = msgspec.json.encode(payload)
    kind = next((kind for kind in (*COMMAND_TYPES, *EVENT_TYPES) if kind.__name__ == name), None)
    if kind is None:
        assert isinstance(payload, str) or msgspec.json.decode(frame, type=dict[str, Any])["cursor"]
        if isinstance(payload, dict):
            msgspec.json.decode(frame, type=WireMessage if "seq" in payload else WireGap)
        return
    decoded = decode_command(frame) if kind in COMMAND_TYPES else decode_event(frame)
    assert type(decoded) is kind
    assert json.loads(encode(decoded)) == payload


def test_a_session_answers_the_examples_of_commands_as_described() -> None:
    async def test(host: Host) -> None:
        await publish_all(host.hub, *(f"message {n}" for n in range(1, 51)))
        client = await host.json("ops")
        leaving_last = sorted(COMMANDS, key=lambda command: type(command).__name__ == "LeaveCommand")
        for command in leaving_last:
            client.socket.pop_events()
            client.session.received_text(encode(command))
            if type(command) not in ANSWERS:
                assert command.ref is None
                continue
            await until(partial(answers, client, command.ref))
            (answer,) = answers(client, command.ref)
            assert answer["type"] == ANSWERS[type(command)].__struct_config__.tag

    hosted(test)


def test_a_token_can_be_sent_in_three_ways_if_the_server_needs_one() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("in")) for scheme in schemes.values()} == {
        ("http", None),
        ("httpApiKey", "query"),
        ("httpApiKey", "cookie"),
    }
    for server in DOCUMENT["servers"].values():
        assert [part_of(DOCUMENT, each["$ref"]) for each in server["security"]] == list(schemes.values())
        assert server["pathname"] == "/chat"
    assert "security" not in asyncapi_document(DEFAULT_LIMITS, "", needs_token=False)["servers"]["ws"]


def test_the_close_codes_are_those_of_the_protocols_description() -> None:
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    section = text.partition("### Close codes")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \| ?(.*) ?\|$", section, re.MULTILINE)
    described = [(int(code), meaning.strip(), again.strip()) for code, meaning, again in rows]
    assert described == [(int(code), meaning, reconnects(code)) for code, meaning in CLOSE_CODES.items()]
    assert set(PrivateCloseCode) <= set(CLOSE_CODES)
