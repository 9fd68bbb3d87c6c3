"""What a session publishes together: the same messages, answers and errors as one text after another."""

from typing import Any

import msgspec
from harness import until
from hypothesis import given, settings
from hypothesis import strategies as st
from session_host import Allowance, Client, Host, hosted

from chatkit.session.session import MAX_OUTSTANDING

REFS = st.one_of(st.none(), st.integers(0, 5))
COMMANDS = st.fixed_dictionaries(
    {"op": st.sampled_from(["publish", "publish", "publish", "publish", "ping", "sing"])},
    optional={
        "body": st.sampled_from(["hi", "@ann look", "é" * 10, "x" * 600, "x" * 1001, 7]),
        "room": st.sampled_from(["ops", "ops", "other", ".audit", "no room"]),
        "data": st.sampled_from([{"a": 1}, "y" * 1001]),
        "key": st.sampled_from(["once", "two\n"]),
        "ref": st.integers(0, 5),
        "behind": st.integers(0, 5),
        "of": st.sampled_from([1, 2, 99, 0]),
        "act": st.sampled_from(["react", "edit", "pin", "jump"]),
    },
)
BODIES = st.sampled_from([b"", b"hi", b"@ann", "é".encode(), b"x" * 1000, b"x" * 1001, "é".encode() * 501])


def received(client: Client, texts: list[bytes], *, together: bool) -> None:
    """Pass texts to a session as one read, or one after another by the long path."""
    if not together:
        for text in texts:
            client.session.received_text(text)
        return
    while texts:
        texts = texts[client.session.received_texts(texts) :]


def seen(client: Client) -> list[Any]:
    """Return what the client got, without what differs from run to run: times, epochs and presence."""
    texts = [text.split(b'"time"')[0] for text in client.socket.texts if b'"type":"presence"' not in text]
    return sorted(text.split(b'"cursor"')[0] for text in texts)


def is_at_head(client: Client) -> bool:
    subscription = client.session._rooms["ops"].subscription
    return subscription is not None and subscription.is_at_head


async def publish(host: Host, texts: list[bytes], n_bytes: int, *, is_json: bool, together: bool) -> list[Any]:
    limiter = Allowance(n_bytes)
    client = await (host.json("ops", limiter=limiter) if is_json else host.text("ops", limiter=limiter))
    reader = await host.json("ops", "reader")
    received(client, texts, together=together)
    await until(lambda: not client.session._n_outstanding and not client.session._jobs)
    await until(lambda: is_at_head(client) and is_at_head(reader))
    return [seen(client), [event.get("body") for event in reader.socket.of_type("message")]]


def compare(texts: list[bytes], n_bytes: int, *, is_json: bool) -> None:
    found: list[Any] = []
    for together in (True, False):

        async def test(host: Host, together: bool = together) -> None:
            found.append(await publish(host, texts, n_bytes, is_json=is_json, together=together))

        hosted(test)
    assert found[0] == found[1]


@given(st.lists(COMMANDS, min_size=1, max_size=8), st.sampled_from([0, 500, 1_000_000]))
@settings(max_examples=60)
def test_commands_of_one_read_do_what_they_do_one_by_one(commands: list[dict[str, Any]], n_bytes: int) -> None:
    compare([msgspec.json.encode(command) for command in commands], n_bytes, is_json=True)


@given(st.lists(BODIES, min_size=1, max_size=8), st.sampled_from([0, 1_500, 1_000_000]))
@settings(max_examples=30)
def test_bodies_of_one_read_are_published_as_they_are_one_by_one(bodies: list[bytes], n_bytes: int) -> None:
    compare(bodies, n_bytes, is_json=False)


def test_a_read_with_more_messages_than_may_be_outstanding_is_handled_in_parts() -> None:
    async def test(host: Host) -> None:
        client = await host.text("ops")
        release = host.backend.hold("append")
        texts = [b"%d" % n for n in range(MAX_OUTSTANDING + 20)]
        assert client.session.received_texts(texts) == MAX_OUTSTANDING
        assert client.socket.is_paused
        release.set()
        await until(lambda: not client.socket.is_paused)
        assert client.session.received_texts(texts[MAX_OUTSTANDING:]) == 20
        await until(lambda: client.socket.texts == texts)

    hosted(test)


def test_a_read_is_handled_as_a_whole_if_a_message_in_its_middle_uses_no_place() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        release = host.backend.hold("append")
        publish, ping = (msgspec.json.encode({"op": op, "body": "x"}) for op in ("publish", "ping"))
        assert client.session.received_texts([publish] * (MAX_OUTSTANDING - 3)) == MAX_OUTSTANDING - 3
        texts = [publish, ping, publish, ping, ping]
        assert client.session.received_texts(texts) == len(texts)  # otherwise, nothing would deliver the rest
        assert not client.socket.is_paused
        release.set()

    hosted(test)


def test_acknowledgements_of_one_read_are_one_write_in_order() -> None:
    async def test(host: Host) -> None:
        client = await host.json("ops")
        other = await host.json()
        client.socket.pop_events()
        n_writes = other.socket.n_writes
        other.session.received_texts(
            [msgspec.json.encode({"op": "publish", "room": "ops", "body": "x", "ref": n}) for n in range(10)]
        )
        await until(lambda: len(other.socket.of_type("ack")) == 10)
        assert [(ack["ref"], ack["seq"]) for ack in other.socket.of_type("ack")] == [(n, n + 1) for n in range(10)]
        assert other.socket.n_writes == n_writes + 1

    hosted(test)
