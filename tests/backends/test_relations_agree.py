"""Stores fold random logs as the memory backend does, which folds them by `core.relations`."""

import asyncio
import random
from pathlib import Path

import pytest
import stores

from chatkit.backends import open_backend
from chatkit.backends.memory import MemoryBackend
from chatkit.core.backend import Backend, Filter
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message

SENDERS = ("ann", "bob", "cat")
EMOJIS = ("👍", "❤️", ":ok:")
WORDS = ("Apple", "ÄPFEL", "pear", "nul\0Tail")
FILTERS = (
    None,
    Filter(search="p"),
    Filter(search="äpfel"),
    Filter(search="tail", sender="ann"),
    Filter(search=""),
    Filter(sender="bob"),
    Filter(of=2),
    Filter(of=3, search="pear"),
    Filter(pinned=True),
    Filter(pinned=True, search="a", until_ms=2**50),
)


def make_draft(chance: random.Random, last: int) -> Draft:
    """Make a draft that may refer to any message, to none, or to one that does not exist."""
    sender, of = chance.choice(SENDERS), chance.randint(1, last + 2)
    match chance.choice((None, None, "reply", *(act for act in Act if act is not Act.REDACT))):
        case None:
            return Draft("a", sender, chance.choice(WORDS), mentions=mentions_of(chance), bot=chance.random() < 0.1)
        case "reply":
            return Draft("a", sender, chance.choice(WORDS), of=of, mentions=mentions_of(chance))
        case Act.EDIT:
            return Draft("a", sender, chance.choice(WORDS), of=of, act=Act.EDIT, mentions=mentions_of(chance))
        case Act.REACT | Act.UNREACT as act:
            return Draft("a", sender, chance.choice(EMOJIS), of=of, act=Act(act))
        case act:
            return Draft("a", sender, "", of=of, act=Act(act))


def mentions_of(chance: random.Random) -> tuple[str, ...]:
    return tuple(chance.sample(SENDERS, chance.choice((0, 0, 1, 2))))


def without_time(message: Message) -> tuple[object, ...]:
    """Return the parts of a message that do not depend on the store's clock and epoch."""
    state = message.state
    edited = None if state is None or state.edited is None else state.edited.seq
    shown = None if state is None else (edited, state.reactions, state.n_replies, state.is_pinned)
    return (
        message.seq,
        message.sender,
        message.body,
        message.redacted,
        message.of,
        message.act,
        message.mentions,
        shown,
    )


async def view_of(backend: Backend, chance: random.Random) -> list[object]:
    """Return everything that a store says about its room."""
    found: list[object] = []
    for where in FILTERS:
        for folded in (True, False):
            limit, edge = chance.choice((1, 3, 200)), chance.randint(0, 90)
            for after, before in ((0, None), (None, None), (edge, None), (None, edge), (edge // 2, edge)):
                page = await backend.read("a", after=after, before=before, limit=limit, where=where, folded=folded)
                found.append((page.complete, page.head.first, [without_time(message) for message in page.messages]))
    for name in SENDERS:
        mentions = await backend.read_mentions(name)
        found.append(sorted(map(without_time, mentions), key=repr))
        found.append(await backend.count_unread(name, {"a": chance.randint(0, 60)}, limit=chance.choice((3, 100))))
        found.append([await backend.has_reaction("a", seq, emoji, name) for seq in (1, 2, 5) for emoji in EMOJIS])
    return found


async def compare(backend: Backend, seed: int) -> None:
    chance = random.Random(seed)
    async with backend, MemoryBackend() as reference:
        for turn in range(12):
            last = (await reference.read("a")).head.last
            drafts = [make_draft(chance, last + n) for n in range(chance.choice((1, 3, 12)))]
            for each in (backend, reference):
                await each.append(drafts)
            redacted, keep = chance.randint(1, last + 1), chance.randint(10, 40)
            if turn % 3 == 2 and await can_be_redacted(reference, redacted):
                assert (await backend.redact("a", redacted)).of == (await reference.redact("a", redacted)).of
                for each in (backend, reference):
                    await each.append([Draft("a", "ann", "", of=redacted, act=Act.REDACT)])
            if turn == 8:
                assert await backend.trim("a", keep=keep) == await reference.trim("a", keep=keep)
            if turn % 4 == 3:
                look = chance.randint(0, 1000)
                assert await view_of(backend, random.Random(look)) == await view_of(reference, random.Random(look))
        log = (await reference.read("a", after=0, limit=1_000)).messages
        await backend.delete_room("a")
        await backend.load(log)
        shown, wanted = [await each.read("a", after=0, limit=1_000, folded=True) for each in (backend, reference)]
        assert [message.body for message in shown.messages] == [message.body for message in wanted.messages]


async def can_be_redacted(backend: Backend, seq: int) -> bool:
    """Return whether there is such a message or edit: no other changes are redacted by themselves."""
    page = await backend.read("a", after=seq - 1, before=seq + 1)
    return bool(page.messages) and page.messages[0].act in (None, Act.EDIT)


@pytest.mark.parametrize("seed", range(8))
def test_sqlite_folds_as_the_memory_backend(tmp_path: Path, seed: int) -> None:
    asyncio.run(compare(open_backend(f"sqlite:///{tmp_path / 'x.db'}"), seed))


@pytest.mark.parametrize("seed", range(2))
def test_postgres_folds_as_the_memory_backend(seed: int) -> None:
    asyncio.run(compare(open_backend(stores.emptied_postgres()), seed))
