"""Pages of the past: read once, shared, bounded, and never wrong about what they hold."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatkit.core import page_cache as pages_module
from chatkit.core.backend import Page
from chatkit.core.model import Head, Message
from chatkit.core.page_cache import PAGE_MESSAGES, PageCache


class Log:
    """A room's log that counts how often it is read."""

    def __init__(self, first: int, last: int, epoch: str = "e") -> None:
        self.head = Head(epoch, first, last)
        self.n_reads = 0

    async def read(self, after: int, before: int, limit: int) -> Page:
        self.n_reads += 1
        await asyncio.sleep(0)
        numbers = range(max(after + 1, self.head.first), min(before, self.head.last + 1))[:limit]
        return Page(
            self.head, [Message("ops", self.head.epoch, seq, 0, "ann", "body") for seq in numbers], complete=True
        )


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_concurrent_loads_of_a_page_read_it_once() -> None:
    async def test() -> None:
        pages, log = PageCache(), Log(1, 1000)
        found = await asyncio.gather(*(pages.load("ops", "e", after, log.read) for after in range(300, 350)))
        assert log.n_reads == 1
        assert {id(page) for page in found if page} == {id(pages.find("ops", "e", 300))}
        assert found[0] is not None
        assert [message.seq for message in found[0].read(300, 2)] == [301, 302]

    run(test)


def test_a_page_is_found_only_for_its_own_messages() -> None:
    async def test() -> None:
        pages, log = PageCache(), Log(400, 500)
        assert await pages.load("ops", "other", 450, log.read) is None
        assert await pages.load("ops", "e", 300, log.read) is None  # trimmed: a gap, which is not a page's to tell
        assert await pages.load("ops", "e", 500, log.read) is None
        page = await pages.load("ops", "e", 399, log.read)
        assert page is not None
        assert page.read(399, 1)[0].seq == 400
        assert pages.find("ops", "e", 398) is None
        assert pages.find("other", "e", 450) is None

    run(test)


def test_the_last_page_is_read_again_when_the_log_has_grown() -> None:
    async def test() -> None:
        pages, log = PageCache(), Log(1, 10)
        assert await pages.load("ops", "e", 5, log.read) is not None
        log.head = Head("e", 1, 20)
        page = await pages.load("ops", "e", 10, log.read)
        assert page is not None
        assert page.last == 20
        assert log.n_reads == 2

    run(test)


def test_pages_are_bounded_and_the_least_recently_used_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        pages, log = PageCache(), Log(1, 100 * PAGE_MESSAGES)
        for block in (0, 1, 2, 0, 3):
            await pages.load("ops", "e", block * PAGE_MESSAGES, log.read)
        assert [pages.find("ops", "e", block * PAGE_MESSAGES) is not None for block in range(4)] == [
            True,
            False,
            True,
            True,
        ]

    monkeypatch.setattr(pages_module, "MAX_PAGES", 3)
    run(test)


def test_redaction_and_clearing_remove_messages_from_pages() -> None:
    async def test() -> None:
        pages, log = PageCache(), Log(1, 1000)
        page = await pages.load("ops", "e", 0, log.read)
        assert page is not None
        pages.redact("ops", PAGE_MESSAGES)
        pages.redact("ops", 999_999)
        assert page.read(PAGE_MESSAGES - 1, 1)[0].redacted
        pages.clear()
        assert pages.find("ops", "e", 0) is None

    run(test)


def test_a_page_of_large_messages_is_read_in_parts() -> None:
    class LargeLog(Log):
        async def read(self, after: int, before: int, limit: int) -> Page:
            page = await super().read(after, before, min(limit, 100))
            return Page(page.head, page.messages, complete=page.messages[-1].seq == before - 1)

    async def test() -> None:
        pages, log = PageCache(), LargeLog(1, 1000)
        seqs: list[int] = []
        while len(seqs) < 2 * PAGE_MESSAGES:
            page = await pages.load("ops", "e", len(seqs), log.read)
            assert page is not None
            seqs += [message.seq for message in page.read(len(seqs), PAGE_MESSAGES)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert log.n_reads == 6

    run(test)
