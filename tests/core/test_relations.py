"""Folding what refers to messages: the shared vectors, and the same by the memory backend for any log."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import run
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from page_fold import page_fold

from chatkit.backends.memory import MemoryBackend
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message, check_reference
from chatkit.core.relations import fold
from chatkit.errors import BadRequest
from chatkit.wire.protocol import WireMessage

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "relations.json").read_text())["cases"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_shared_vectors_are_folded_as_they_say(vector: dict[str, Any]) -> None:
    entries = msgspec.convert(vector["entries"], list[WireMessage])
    folded = fold(entry.to_message("e") for entry in entries)
    assert json.loads(msgspec.json.encode([WireMessage.of_message(message) for message in folded])) == vector["folded"]
    expected = msgspec.convert(vector["folded"], list[WireMessage])
    assert [message.to_message("e") for message in expected] == folded


senders = st.sampled_from(["ann", "bob", "cät"])
changes = st.builds(
    lambda sender, of, act, body: Draft(
        "a", sender, body if act in {None, Act.EDIT, Act.REACT, Act.UNREACT} else "", of=of, act=act
    ),
    senders,
    st.integers(1, 12),
    st.sampled_from([None, *Act]),
    st.sampled_from(["👍", "🎉", ":ok:"]),
)
logs = st.lists(st.one_of(changes, senders.map(lambda sender: Draft("a", sender, "text"))), min_size=1, max_size=40)


@given(logs, st.data())
def test_a_folded_read_of_any_log_is_its_fold(drafts: list[Draft], data: st.DataObject) -> None:
    async def go() -> tuple[list[Message], list[Message]]:
        async with MemoryBackend() as backend:
            for draft in drafts:
                (receipt,) = await backend.append([draft])
                if draft.act is Act.REDACT and draft.of is not None and draft.of < receipt.message.seq:
                    await backend.redact("a", draft.of) if _is_message(drafts, draft.of) else None
            raw = (await backend.read("a", after=0, limit=100)).messages
            folded = (await backend.read("a", after=0, limit=100, folded=True)).messages
            return fold(raw), list(folded)

    expected, found = run(go())
    assert found == expected
    start = data.draw(st.integers(0, len(drafts)))
    # Changes come after what they change: a reader from the middle folds the messages from there on rightly.
    assert [message for message in expected if message.seq > start] == [
        message for message in found if message.seq > start
    ]


def _is_message(drafts: list[Draft], seq: int) -> bool:
    return drafts[seq - 1].act is None


# More than are listed, and some that JavaScript orders in another way or treats in a special way.
odd_senders = st.sampled_from(
    [*"abcdefghijklmnopqrst", "1", "10", "2", "\U0001d49c", "\uff61", "constructor", "__proto__", "İ"]
)
entries = st.builds(
    lambda sender, body, of, act, mentions, redacted: Message(
        "a", "e", 1, 0, sender, body, None if act else {"n": 1}, None, redacted, of=of, act=act, mentions=mentions
    ),
    st.one_of(odd_senders, st.just("a")),  # whose edits count
    st.sampled_from(
        ["👍", "❤", "❤️", "1️⃣", "#️⃣", ":1:", ":constructor:", ":__proto__:", "constructor", "__proto__", "", "\u2028"]
    ),
    st.none() | st.integers(1, 3) | st.integers(1, 60),
    st.sampled_from([None, *Act]) | st.just(Act.REACT),
    st.lists(odd_senders, unique=True, max_size=2).map(tuple),
    st.sampled_from([False] * 9 + [True]),  # as a store returns a redacted message, and the edits of one
)


@pytest.fixture(scope="module")
def fold_in_page() -> Iterator[Callable[[Sequence[Message]], list[Message]]]:
    with page_fold() as fold_in_page:
        yield fold_in_page


@given(st.lists(entries, min_size=1, max_size=80))
def test_the_page_folds_any_log_as_the_server_does(
    fold_in_page: Callable[[Sequence[Message]], list[Message]], unnumbered: list[Message]
) -> None:
    log = [replace(entry, seq=seq, time_ms=seq * 1_000) for seq, entry in enumerate(unnumbered, 1)]
    assert fold_in_page(log) == fold(log)


@pytest.mark.parametrize(
    ("of", "act", "body", "data"),
    [
        (None, Act.EDIT, "x", None),
        (0, None, "x", None),
        (-1, None, "x", None),
        (10**18, None, "x", None),
        (1, Act.EDIT, "", None),
        (1, Act.EDIT, "x", {"n": 1}),
        (1, Act.REACT, "no emoji", None),
        (1, Act.PIN, "x", None),
        (1, Act.UNPIN, "", 1),
        (1, Act.REDACT, "", None),
    ],
)
def test_a_reference_that_no_client_may_publish_is_refused(
    of: int | None, act: Act | None, body: str, data: Any
) -> None:
    with pytest.raises(BadRequest):
        check_reference(of, act, body, data)
    with pytest.raises(BadRequest):
        Draft.new("a", body, of=of, act=act, data=data)
