"""A page of history has a bounded number of bytes as it is sent, not as it is stored."""

import json
from typing import Any

import pytest
from harness import run

from chatkit.core.history import HistoryPage
from chatkit.core.model import Cursor, Head, Message
from chatkit.core.page_size import MAX_PAGE_BYTES
from chatkit.wire.page import EncodedPage, encode_page


def past(bodies: list[str]) -> HistoryPage:
    messages = [Message("ops", "e", seq, 0, "ann", body) for seq, body in enumerate(bodies, 1)]
    head = Head("e", 1, len(bodies))
    return HistoryPage(head, messages, complete=True, gap=None, cursor=Cursor("e", len(bodies)))


def seqs(page: EncodedPage) -> list[int]:
    return [json.loads(bytes(message))["seq"] for message in page.messages]


@pytest.mark.parametrize("char", ["\x01", '"', "\\", "\n"])
def test_escaped_characters_count_as_they_are_sent(char: str) -> None:
    async def test() -> None:
        found = past([char * (MAX_PAGE_BYTES // 12)] * 12)
        page = await encode_page(found, is_forward=True)
        assert sum(map(len, map(bytes, page.messages))) <= MAX_PAGE_BYTES
        assert seqs(page) == list(range(1, len(page.messages) + 1))
        assert (page.cursor.seq, page.complete) == (len(page.messages), False)
        page = await encode_page(found, is_forward=False)
        assert seqs(page) == list(range(13 - len(page.messages), 13))
        assert (page.cursor.seq, page.complete) == (12, False)

    run(test())


def test_a_page_has_at_least_one_message_of_any_size() -> None:
    async def test() -> None:
        for is_forward in (True, False):
            page: Any = await encode_page(past(["\x01" * MAX_PAGE_BYTES] * 2), is_forward=is_forward)
            assert len(page.messages) == 1

    run(test())


def test_a_page_within_the_bound_is_not_shortened() -> None:
    async def test() -> None:
        for is_forward in (True, False):
            page = await encode_page(past(["hi"] * 1_000), is_forward=is_forward)
            assert (len(page.messages), page.cursor.seq, page.complete) == (1_000, 1_000, True)
        empty = await encode_page(past([]), is_forward=True)
        assert (empty.messages, empty.complete) == ([], True)

    run(test())
