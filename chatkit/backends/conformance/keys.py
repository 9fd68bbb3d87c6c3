"""Conformance: a draft whose key its sender has already used is a repeat or a conflict."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio
from typing import Any

from chatkit.backends.conformance.suite import (
    Factory,
    case,
    check,
    drafts_in,
    expect,
    keyed_drafts,
    shared_case,
    texts,
)
from chatkit.core.model import Draft, Receipt


@case
async def a_repeated_key_is_stored_once(factory: Factory) -> None:
    async with factory() as backend:
        first = await backend.append(keyed_drafts("a", "k", "l", "k"))
        expect([receipt.repeat for receipt in first], [False, False, True], "repeats in one batch")
        expect(first[2].message, first[0].message, "the repeat's message")
        again = await backend.append([*drafts_in("a", "new"), *keyed_drafts("a", "l"), *keyed_drafts("b", "l")])
        expect(again[1], Receipt(first[1].message, repeat=True), "a repeat in a later batch")
        check(not again[2].repeat, "a key in another room is no repeat")
        expect(await texts(backend, "a"), ["k", "l", "new"], "the room")
        only = await backend.append(keyed_drafts("a", "k", "l"))
        expect([receipt.repeat for receipt in only], [True, True], "a batch of repeats")
        expect((await backend.read("a")).head.last, 3, "the last number")


@case
async def a_key_belongs_to_one_sender(factory: Factory) -> None:
    async with factory() as backend:
        anns, bobs = Draft("a", "ann", "ann's", key="k"), Draft("a", "bob", "bob's", key="k")
        first = await backend.append([anns, bobs])
        expect([receipt.repeat for receipt in first], [False, False], "one key of two senders in one batch")
        expect(await backend.append([anns]), [Receipt(first[0].message, repeat=True)], "the first sender's repeat")
        expect(await backend.append([bobs]), [Receipt(first[1].message, repeat=True)], "the second sender's repeat")
        (cats,) = await backend.append([Draft("a", "cat", "cat's", key="k")])
        check(not cats.repeat, "a third sender's key in a later batch is no repeat")
        expect(await texts(backend, "a"), ["ann's", "bob's", "cat's"], "the room")


@case
async def a_key_with_a_different_body_or_data_is_a_conflict(factory: Factory) -> None:
    async with factory() as backend:
        draft = Draft("a", "ann", "one", {"n": 1, "m": [1.5, None]}, "k")
        (stored,) = await backend.append([draft])
        conflict, repeat = Receipt(stored.message, repeat=True, conflict=True), Receipt(stored.message, repeat=True)
        others: list[tuple[str, Any]] = [
            ("two", draft.data),
            ("", draft.data),
            ("one ", draft.data),
            ("one", None),
            ("one", {"n": 2, "m": [1.5, None]}),
            ("one", {"n": True, "m": [1.5, None]}),
            ("one", {"n": 1.0, "m": [1.5, None]}),
        ]
        for body, data in others:
            found = await backend.append([*drafts_in("b", "beside"), Draft("a", "ann", body, data, "k")])
            expect(found[1], conflict, f"the body {body!r} and the data {data!r} under a known key")
        expect(await backend.append([draft]), [repeat], "the same content again")
        turned = Draft("a", "ann", "one", {"m": [1.5, None], "n": 1}, "k")
        expect(await backend.append([turned]), [repeat], "the same data in another order")
        expect(await texts(backend, "a"), ["one"], "the room")
        expect(len(await texts(backend, "b")), len(others), "the other messages of the same batches")


@case
async def a_key_may_conflict_within_one_batch(factory: Factory) -> None:
    async with factory() as backend:
        found = await backend.append(
            [
                Draft("a", "ann", "one", key="k"),
                Draft("a", "bob", "one", key="k"),
                Draft("a", "ann", "two", key="k"),
                Draft("a", "ann", "one", {"n": 1}, "k"),
                Draft("a", "ann", "one", key="k"),
                Draft("a", "ann", "last"),
            ]
        )
        expect([receipt.repeat for receipt in found], [False, False, True, True, True, False], "which are repeats")
        expect([receipt.conflict for receipt in found], [False, False, True, True, False, False], "which are conflicts")
        expect([receipt.message.seq for receipt in found], [1, 2, 1, 1, 1, 3], "the numbers")
        expect(await texts(backend, "a"), ["one", "one", "last"], "the room")


@case
async def a_key_is_remembered_after_a_redaction(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([Draft("a", "ann", "secret", {"n": 1}, "k"), Draft("a", "bob", "open", key="k")])
        left = Receipt(await backend.redact("a", 1), repeat=True)
        expect(await backend.append([Draft("a", "ann", "secret", {"n": 1}, "k")]), [left], "the same content")
        expect(
            await backend.append([Draft("a", "ann", "other", key="k")]),
            [left],
            "different content, which can no longer be compared",
        )
        (bobs,) = await backend.append([Draft("a", "bob", "other", key="k")])
        check(bobs.conflict, "the key of a message that was not redacted still conflicts")
        (cats,) = await backend.append([Draft("a", "cat", "cat's", key="k")])
        expect((cats.repeat, cats.message.seq), (False, 3), "the key of another sender")


@shared_case
async def a_key_belongs_to_one_sender_in_all_processes(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        (anns,) = await one.append([Draft("a", "ann", "one", key="k")])
        (bobs,) = await two.append([Draft("a", "bob", "two", key="k")])
        check(not bobs.repeat, "another sender's key by another process is no repeat")
        (again,) = await two.append([Draft("a", "ann", "one", key="k")])
        expect(again, Receipt(anns.message, repeat=True), "a repeat by another process")
        (other,) = await two.append([Draft("a", "ann", "two", key="k")])
        expect(other, Receipt(anns.message, repeat=True, conflict=True), "a different body by another process")
        drafts = [Draft("race", "ann", str(n % 2), key="k") for n in range(10)]
        found = await asyncio.gather(*([one, two][n % 2].append([draft]) for n, draft in enumerate(drafts)))
        winner = (await texts(one, "race"))[0]
        expect(
            [len(await texts(two, "race")), sum(not each.repeat for (each,) in found)], [1, 1], "how many were stored"
        )
        conflicts = [draft.body for draft, (each,) in zip(drafts, found, strict=True) if each.conflict]
        expect(
            conflicts,
            [draft.body for draft in drafts if draft.body != winner],
            "the conflicts among ten concurrent appends",
        )
