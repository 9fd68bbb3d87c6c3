"""What refers to a message is checked against it before it is committed."""

import asyncio
from collections.abc import Sequence

import pytest
from faulty_backend import Faults, Forgetful
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core.backend import Backend
from chatkit.core.group_commit import Committer, Outcome
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message, Receipt
from chatkit.core.references import MAX_EMOJIS, References
from chatkit.errors import BadReference, Forbidden, StoreError, Unavailable

THUMB = "👍"


def change(act: Act | None, of: int, body: str = "", sender: str = "ann", *, verified: bool = False) -> Draft:
    return Draft("a", sender, body, of=of, act=act, verified=verified)


def append(drafts: Sequence[Draft], *, is_open: bool = True, backend: Backend | None = None) -> list[Outcome]:
    """Append each draft by itself, and return the outcomes."""

    async def go() -> list[Outcome]:
        async with backend or MemoryBackend() as store:
            references = References(store, trusts_names=lambda: is_open)
            return [(await references.append([draft]))[0] for draft in drafts]

    return run(go())


@pytest.mark.parametrize("act", [None, Act.EDIT, Act.REACT, Act.UNREACT, Act.PIN, Act.UNPIN])
@pytest.mark.parametrize("of", [2, 7, 99])
def test_a_message_that_is_no_message_or_redacted_cannot_be_referred_to(act: Act | None, of: int) -> None:
    async def go() -> Outcome:
        async with MemoryBackend() as backend:
            await backend.append([Draft("a", "ann", "one"), change(Act.EDIT, 1, "uno"), Draft("a", "ann", "three")])
            await backend.append([Draft("a", "ann", "x") for _ in range(4)])
            await backend.redact("a", 7)
            return (await References(backend, trusts_names=lambda: True).append([change(act, of, THUMB)]))[0]

    outcome = run(go())
    assert isinstance(outcome, BadReference)
    assert (
        str(outcome)
        == {
            2: "message 2 is itself a change of message 1: refer to that one",
            7: "message 7 was redacted",
            99: "there is no message 99 in 'a'",
        }[of]
    )


@pytest.mark.parametrize(
    ("sender", "is_verified", "is_stored_verified", "is_open", "is_allowed"),
    [
        ("ann", False, False, True, True),
        ("ann", False, False, False, False),  # a name alone says nothing where tokens do
        ("ann", True, True, False, True),
        ("ann", True, False, False, False),
        ("ann", False, True, True, False),
        ("bob", True, True, False, False),
        ("bob", False, False, True, False),
    ],
)
def test_only_the_sender_edits_a_message(
    sender: str, *, is_verified: bool, is_stored_verified: bool, is_open: bool, is_allowed: bool
) -> None:
    first = Draft("a", "ann", "one", verified=is_stored_verified)
    _, outcome = append([first, change(Act.EDIT, 1, "uno", sender, verified=is_verified)], is_open=is_open)
    assert isinstance(outcome, Receipt if is_allowed else Forbidden)


def test_a_change_that_changes_nothing_is_not_stored() -> None:
    outcomes = append(
        [
            Draft("a", "ann", "one"),
            change(Act.UNREACT, 1, THUMB),
            change(Act.REACT, 1, THUMB),
            change(Act.REACT, 1, THUMB),
            change(Act.REACT, 1, THUMB, "bob"),
            change(Act.UNREACT, 1, THUMB),
            change(Act.UNREACT, 1, THUMB),
            change(Act.UNPIN, 1),
            change(Act.PIN, 1),
            change(Act.PIN, 1, sender="bob"),
            change(Act.UNPIN, 1),
            change(None, 1, "a reply"),
            change(None, 1, "a reply"),
        ]
    )
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert [(receipt.message.seq, receipt.repeat) for receipt in receipts] == [
        (1, False),
        (1, True),
        (2, False),
        (1, True),
        (3, False),
        (4, False),
        (1, True),
        (1, True),
        (5, False),
        (1, True),
        (6, False),
        (7, False),
        (8, False),
    ]


def test_the_drafts_of_one_batch_know_of_each_other() -> None:
    async def go() -> tuple[list[object], list[Message]]:
        async with MemoryBackend() as backend:
            await backend.append([Draft("a", "ann", "one")])
            outcomes = await References(backend, trusts_names=lambda: True).append(
                [
                    Draft("a", "ann", "beside"),
                    change(Act.REACT, 1, THUMB),
                    change(Act.REACT, 1, THUMB),
                    change(Act.UNREACT, 1, THUMB),
                    change(Act.REACT, 9, THUMB),
                    change(Act.PIN, 1),
                    change(Act.PIN, 1),
                    change(Act.REDACT, 9),  # the entry of a redaction, which is not checked
                    Draft("a", "ann", "after"),
                ]
            )
            found: list[object] = [o.message.seq if isinstance(o, Receipt) else type(o) for o in outcomes]
            return found, list((await backend.read("a", after=1)).messages)

    outcomes, log = run(go())
    assert outcomes == [2, 3, 1, 4, BadReference, 5, 1, 6, 7]
    assert [(message.body, message.act) for message in log] == [
        ("beside", None),
        (THUMB, Act.REACT),
        (THUMB, Act.UNREACT),
        ("", Act.PIN),
        ("", Act.REDACT),
        ("after", None),
    ]


def test_a_second_reaction_is_found_also_beyond_the_listed_names() -> None:
    names = [f"n{n:02}" for n in range(30)]
    drafts = [Draft("a", "ann", "one"), *(change(Act.REACT, 1, THUMB, name) for name in names)]
    outcomes = append([*drafts, change(Act.REACT, 1, THUMB, "n29"), change(Act.REACT, 1, THUMB, "zoe")])
    assert [isinstance(o, Receipt) and o.repeat for o in outcomes[-2:]] == [True, False]


def test_a_reaction_that_was_stored_without_a_selector_can_be_removed() -> None:
    heart = "\u2764"  # as older versions stored it; now it has a selector

    async def go() -> tuple[Outcome, Message]:
        async with MemoryBackend() as backend:
            await backend.append([Draft("a", "ann", "one"), change(Act.REACT, 1, heart)])
            removal = Draft.new("a", heart, sender="ann", of=1, act=Act.UNREACT)
            outcome = (await References(backend, trusts_names=lambda: True).append([removal]))[0]
            return outcome, (await backend.read("a", after=0, limit=1, folded=True)).messages[0]

    outcome, message = run(go())
    assert isinstance(outcome, Receipt)
    assert not outcome.repeat
    assert message.state is None or message.state.reactions == ()


def test_the_number_of_different_reactions_is_bounded() -> None:
    drafts = [Draft("a", "ann", "one"), *(change(Act.REACT, 1, f":n{n}:") for n in range(MAX_EMOJIS))]
    outcomes = append([*drafts, change(Act.REACT, 1, ":more:"), change(Act.REACT, 1, ":n1:", "bob")])
    assert isinstance(outcomes[-2], BadReference)
    assert isinstance(outcomes[-1], Receipt)


def test_an_edit_of_a_message_that_is_redacted_meanwhile_leaves_no_text() -> None:
    async def go() -> Message:
        faults = Faults()
        async with faults as backend:
            await backend.append([Draft("a", "ann", "one")])
            real = faults.inner.append

            async def redact_first(drafts: Sequence[Draft]) -> list[Receipt]:
                await faults.inner.redact("a", 1)
                return await real(drafts)

            faults.inner.append = redact_first  # type: ignore[method-assign]
            await References(backend, trusts_names=lambda: True).append([change(Act.EDIT, 1, "secret")])
            return (await backend.read("a", after=1)).messages[0]

    edit = run(go())
    assert (edit.seq, edit.body, edit.redacted) == (2, "", True)


def test_only_the_edit_fails_if_it_cannot_be_checked_after_its_commit() -> None:
    async def go() -> tuple[Sequence[Outcome], int]:
        faults = Faults()
        async with faults as backend:
            await backend.append([Draft("a", "ann", "one")])
            real = faults.inner.append

            async def fail_afterwards(drafts: Sequence[Draft]) -> list[Receipt]:
                faults.failures["read"] = StoreError("away")
                return await real(drafts)

            faults.inner.append = fail_afterwards  # type: ignore[method-assign]
            committer = Committer(References(backend, trusts_names=lambda: True).append, lambda _: None, lambda _: None)
            outcomes: list[Outcome] = []
            for draft in (Draft("b", "ann", "beside"), change(Act.EDIT, 1, "uno")):
                committer.submit(draft, outcomes.append)
            task = asyncio.ensure_future(committer.run())
            await committer.drain()
            task.cancel()
            return outcomes, (await faults.inner.read("b")).head.last

    (beside, edit), last = run(go())
    assert isinstance(beside, Receipt)
    assert isinstance(edit, StoreError)
    assert last == 1  # a batch that was committed is not committed again


def test_nothing_can_be_referred_to_without_a_history() -> None:
    _, outcome = append([Draft("a", "ann", "one"), change(None, 1, "reply")], backend=Forgetful())
    assert isinstance(outcome, BadReference)


def test_a_store_that_cannot_be_read_refuses_the_batch() -> None:
    async def go() -> None:
        faults = Faults()
        async with faults as backend:
            await backend.append([Draft("a", "ann", "one")])
            faults.failures["read"] = Unavailable("away")
            await References(backend, trusts_names=lambda: True).append([change(None, 1, "reply")])

    with pytest.raises(Unavailable, match="away"):
        run(go())
