"""The frames of `chatkit.v1`: round trips and invalid frames."""

import contextlib
import json
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chatkit.core.message_state import Act, Edit, MessageState, Reaction
from chatkit.core.model import Cursor, Gap, Member, Message
from chatkit.core.signals import MembersChanged
from chatkit.core.subscription import Subscription  # noqa: TC001  # a cheap import is no reason to hide it
from chatkit.errors import BadCursor, BadInput, BadRequest, NotFound, RateLimited, UnknownOp
from chatkit.session.formats import FORMATS, gap_sentence, presence_frame
from chatkit.websocket.reader import payloads
from chatkit.wire import protocol

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(0, 2**53)
refs = st.none() | st.integers(-(2**63), 2**63) | text
values = st.recursive(
    st.none() | st.booleans() | integers | text,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3),
)
positions = st.none() | integers | text
base: dict[str, Any] = {"room": st.none() | text, "ref": refs}
commands = st.one_of(
    st.builds(protocol.JoinCommand, after=st.none() | text, history=st.none() | integers, **base),
    st.builds(protocol.LeaveCommand, **base),
    st.builds(
        protocol.PublishCommand,
        body=st.none() | text,
        data=values,
        key=st.none() | text,
        of=st.none() | integers,
        act=st.none() | st.sampled_from(Act),
        **base,
    ),
    st.builds(
        protocol.HistoryCommand,
        before=positions,
        after=positions,
        limit=st.none() | integers,
        search=st.none() | text,
        of=st.none() | integers,
        raw=st.booleans(),
        **base,
    ),
    st.builds(protocol.MembersCommand, **base),
    st.builds(protocol.TypingCommand, **base),
)
reasons = st.sampled_from(["trimmed", "epoch", "no-history"])
messages = st.builds(
    Message,
    text,
    st.just("e"),
    integers,
    st.integers(0, 4 * 10**12),
    text,
    text,
    values,
    st.none() | text,
    st.booleans(),
    of=st.none() | integers,
    act=st.none() | st.sampled_from(Act),
    mentions=st.lists(text, max_size=2).map(tuple),
)
states = st.builds(
    MessageState,
    st.none() | st.builds(Edit, integers, st.integers(0, 4 * 10**12)),
    st.lists(st.builds(Reaction, text, integers, st.tuples(text)), max_size=2, unique_by=lambda each: each.emoji).map(
        tuple
    ),
    st.integers(1, 9),
    st.booleans(),
)
wire_messages = st.one_of(
    messages.map(protocol.WireMessage.of_message),
    st.builds(lambda message, state: replace(message, state=state), messages, states).map(
        protocol.WireMessage.of_message
    ),
)
members = st.lists(st.builds(protocol.WireMember, text, text), max_size=2)
events = st.one_of(
    st.builds(protocol.WelcomeEvent, text, text, st.builds(protocol.WireLimits, integers, integers)),
    st.builds(protocol.JoinedEvent, text, text, integers, integers, integers, members, integers, refs),
    st.builds(protocol.LeftEvent, text, refs),
    st.builds(protocol.LeftEvent, text, refs, text, text),
    st.builds(protocol.RoomEvent, text, text, st.booleans(), st.lists(text, max_size=4)),
    st.builds(protocol.WelcomeEvent, text, text, st.just(protocol.WireLimits(1, 2)), st.booleans(), st.booleans()),
    st.builds(protocol.GapEvent, text, integers, integers, reasons),
    st.builds(protocol.AckEvent, text, integers, text, st.booleans(), st.integers(-(2**63), 2**63) | text, text),
    st.builds(protocol.HistoryEvent, text, st.lists(wire_messages, max_size=2), st.booleans(), refs),
    st.builds(protocol.MembersEvent, text, members, integers, refs),
    st.builds(
        protocol.PresenceEvent,
        room=text,
        joined=st.none() | st.lists(text),
        left=st.none() | st.lists(text),
        count=integers,
    ),
    st.builds(protocol.TypingEvent, text, text),
    st.builds(protocol.RedactedEvent, text, integers),
    st.builds(protocol.ErrorEvent, text, text, refs, st.none() | st.floats(0, 100)),
)


@given(commands)
def test_a_command_is_decoded_as_it_was_encoded(command: protocol.AnyCommand) -> None:
    frame = protocol.encode(command)
    assert protocol.decode_command(frame) == protocol.decode_command(frame.decode()) == command
    assert protocol.ref_of(frame) == command.ref


@given(events)
def test_an_event_is_decoded_as_it_was_encoded(event: protocol.AnyEvent) -> None:
    assert protocol.decode_event(protocol.encode(event)) == event


@given(messages)
def test_a_message_is_unchanged_after_encoding_and_decoding(message: Message) -> None:
    event = protocol.decode_event(protocol.message_event(message))
    assert isinstance(event, protocol.MessageEvent)
    assert protocol.WireMessage(*msgspec.structs.astuple(event)).to_message("e") == message
    assert msgspec.json.decode(protocol.message_json(message), type=protocol.WireMessage).to_message("e") == message


KNOWN_FIELDS = {"op", "type", *protocol.PublishCommand.__struct_fields__, *protocol.LeftEvent.__struct_fields__}


@given(st.dictionaries(text.filter(lambda name: name not in KNOWN_FIELDS), values))
def test_unknown_fields_are_ignored(extra: dict[str, object]) -> None:
    frame = msgspec.json.encode({**extra, "op": "publish", "body": "hi", "ref": 1})
    assert protocol.decode_command(frame) == protocol.PublishCommand(body="hi", ref=1)
    frame = msgspec.json.encode({**extra, "type": "left", "room": "ops"})
    assert protocol.decode_event(frame) == protocol.LeftEvent("ops")


@given(st.binary(max_size=60) | text.map(str.encode) | values.map(msgspec.json.encode))
def test_invalid_frames_raise_only_bad_input(frame: bytes) -> None:
    for decode in (protocol.decode_command, protocol.decode_event):
        with contextlib.suppress(BadInput):
            decode(frame)
    protocol.ref_of(frame)


DEEP = b"[" * 100_000 + b"]" * 100_000
HOSTILE = [
    b"", b"{", b"[]", b"5", b"null", b'"join"', b"\xff", b'{"op":5}', b'{"op":null}', b'{"op":"join","room":5}',
    b'{"op":"join","history":1.5}', b'{"op":"join","history":' + b"9" * 5000 + b"}", b'{"op":"publish","data":NaN}',
    b'{"op":"publish","data":Infinity}', b'{"op":"publish","data":1e999}', b'{"op":"publish","body":"\\ud800"}',
    b'{"op":"publish","ref":"\\udfff","body":""}', b'{"op":"publish","key":"\\ud83d"}',
    b'{"op":"publish","body":"\x00"}',
    b'{"op":"publish","data":[' + b"[]," * 70_000 + b"0]}", b'{"op":"publish","data":[' + b"1e300," * 70_000 + b"0]}",
    b'{"op":"publish","data":' + DEEP + b"}", b'{"op":"publish","body":"","x":' + DEEP + b"}", DEEP,
    b'{"op":"publish","ref":' + b"9" * 5000 + b"}", b'{"op":"publish","ref":true}', b'{"op":"publish","ref":1.5}',
    b'{"op":"publish","ref":[]}', b'{"room":"ops"}',
]  # fmt: skip


@pytest.mark.parametrize("frame", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_frame_is_a_bad_request(frame: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        protocol.decode_command(frame)
    assert caught.value.code == "bad-request"
    assert len(str(caught.value)) < 300
    assert protocol.ref_of(frame) is None
    with pytest.raises(BadRequest):
        protocol.decode_event(
            frame.replace(b'"op":"publish"', b'"type":"message"').replace(b'"op":"join"', b'"type":"left"')
        )


def test_an_unknown_op_is_reported_with_its_ref() -> None:
    frame = b'{"op":"sing","ref":"r1"}'
    with pytest.raises(UnknownOp, match="'sing'") as caught:
        protocol.decode_command(frame)
    assert caught.value.code == "unknown-op"
    assert protocol.ref_of(frame) == "r1"


@pytest.mark.parametrize("data", [b"1e999", b"9" * 5_000])
def test_a_value_that_cannot_be_decoded_is_reported_with_the_ref(data: bytes) -> None:
    frame = b'{"op":"publish","data":' + data + b',"ref":7}'
    with pytest.raises(BadRequest):
        protocol.decode_command(frame)
    assert protocol.ref_of(frame) == 7


def test_an_unknown_event_is_decoded_as_none() -> None:
    assert protocol.decode_event(b'{"type":"sung","room":5}') is None


def test_the_sentence_names_the_wrong_field() -> None:
    with pytest.raises(BadRequest, match=r"^body must be text or null, not a whole number$"):
        protocol.decode_command(b'{"op":"publish","body":5}')


def test_json_is_compact_and_omits_defaults() -> None:
    message = Message("ops", "e", 42, 1_795_175_241_123, "ann", "hi")
    head = b'"room":"ops","seq":42,"time":"2026-11-20T11:47:21.123Z","sender":"ann","body":"hi"}'
    assert protocol.message_event(message) == b'{"type":"message",' + head
    assert protocol.message_json(message) == b"{" + head
    assert (
        protocol.gap_event("ops", Gap(12, 33, "trimmed"))
        == b'{"type":"gap","room":"ops","after":12,"before":33,"reason":"trimmed"}'
    )


@given(st.integers())
def test_every_number_gives_a_position_within_the_range_of_stores(at: int) -> None:
    for given_at in (at, str(at) if at >= 0 else "0"):
        position = protocol.position(given_at)
        assert isinstance(position, int)
        assert 0 <= position < 2**63
        if 0 <= at < 10**17:
            assert position == at


def test_a_position_is_a_number_or_a_cursor() -> None:
    assert protocol.position(None) is None
    assert protocol.position("k3f:32") == Cursor("k3f", 32)
    for bad in ("", "x", "-1", "1.5", "٣", "²"):
        with pytest.raises(BadCursor):
            protocol.position(bad)


def test_errors_and_members_are_encoded() -> None:
    assert protocol.error_event(NotFound("no such room"), 7) == protocol.ErrorEvent("not-found", "no such room", 7)
    assert protocol.error_event(RateLimited(0.5)).retry_after_s == 0.5
    assert protocol.wire_members([Member("ann", 1500)]) == [protocol.WireMember("ann", "1970-01-01T00:00:01.500Z")]


def test_the_formats_of_plain_text() -> None:
    message = Message("ops", "e", 1, 0, "ann", "hé")
    gap = Gap(1, 4, "trimmed")
    subscription = cast("Subscription", SimpleNamespace(epoch="e"))
    shown = {
        name: [b"".join(payloads(frame)) for frame in (form(message), form_gap(subscription, gap))]
        for name, (form, form_gap) in FORMATS.items()
    }
    assert shown["text"] == ["hé".encode(), b"! messages 2 to 3 are no longer kept"]
    assert shown["line"][0] == "ann: hé".encode()
    assert [json.loads(shown_json) for shown_json in shown["json"]] == [
        {**json.loads(protocol.message_json(message)), "cursor": "e:1"},
        {"after": 1, "before": 4, "reason": "trimmed", "cursor": "e:3"},
    ]
    assert len({gap_sentence(Gap(1, 2, reason)) for reason in ("trimmed", "epoch", "no-history")}) == 3


@pytest.mark.parametrize(
    ("count", "names", "is_listed"), [(2, 1, True), (200, 200, True), (201, 1, False), (5, 201, False)]
)
def test_presence_in_a_large_room_is_only_a_count(count: int, names: int, is_listed: bool) -> None:
    change = MembersChanged("ops", [f"n{n}" for n in range(names)], [], count)
    event = protocol.decode_event(payloads(presence_frame(change))[0])
    assert event == protocol.PresenceEvent(
        room="ops", joined=change.joined if is_listed else None, left=[] if is_listed else None, count=count
    )
