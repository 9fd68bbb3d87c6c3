"""References: what refers to a message is checked against it just before it is committed.

Drafts of one process are checked and committed one batch after another, so a second identical reaction finds the first.
Two processes may commit the same change at the same moment: folded, it counts once.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec.structs import replace

from chatkit.core.backend import Backend
from chatkit.core.emoji import is_same_emoji
from chatkit.core.group_commit import Outcome
from chatkit.core.message_state import NO_STATE, Act
from chatkit.core.model import Draft, Message, Receipt
from chatkit.errors import BadReference, ChatkitError, Forbidden

MAX_EMOJIS: Final = 100  # different ones on one message: each takes a place in every page that shows it

_Target: TypeAlias = tuple[str, int]
"""The room and the number of a message that drafts refer to."""


class References:
    """Appends drafts to a backend, except those that may not refer to a message as they do.

    `trusts_names` returns whether a name alone makes somebody the sender of a message: on an open server, where nobody
    is identified, and for who opens the store itself. A sender whom a token has proved needs that token in any case.
    """

    def __init__(self, backend: Backend, *, trusts_names: Callable[[], bool]) -> None:
        self._backend = backend
        self._trusts_names = trusts_names

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        """Append drafts, and return a receipt or `BadReference` or `Forbidden` for each; see `Backend.append`."""
        for draft in drafts:
            if draft.of is not None:
                return await self._append_checked(drafts)
        return await self._backend.append(drafts)

    async def _append_checked(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        decided = await self._check(drafts)
        stored = [decided.get(n, draft) for n, draft in enumerate(drafts)]
        accepted = [draft for draft in stored if isinstance(draft, Draft)]
        receipts = iter(await self._backend.append(accepted) if accepted else ())
        outcomes = [next(receipts) if isinstance(each, Draft) else each for each in stored]
        return [await self._redact_late_edit(outcome) for outcome in outcomes]

    async def _check(self, drafts: Sequence[Draft]) -> dict[int, Outcome | Draft]:
        """Return the outcomes of the drafts that are not to be appended, and what replaces others, by their index."""
        referring = [(n, draft) for n, draft in enumerate(drafts) if _has_to_be_checked(draft)]
        targets = await self._read({(draft.room, draft.of or 0) for _, draft in referring})
        batch = _Batch(self._backend)
        decided: dict[int, Outcome | Draft] = {}
        for n, draft in referring:
            target = targets[draft.room, draft.of or 0]
            error = self._refusal(draft, target)
            if error is not None:
                decided[n] = error
            elif target is not None:
                changed = await batch.in_stored_form(draft, target)
                decided[n] = await batch.decide(changed, target) or changed
        return decided

    async def _read(self, targets: set[_Target]) -> dict[_Target, Message | None]:
        found = await asyncio.gather(*(_read(self._backend, *target) for target in targets))
        return dict(zip(targets, found, strict=True))

    def _refusal(self, draft: Draft, target: Message | None) -> ChatkitError | None:
        if target is None:
            return BadReference(f"there is no message {draft.of} in {draft.room!r}")
        if target.act is not None:
            return BadReference(f"message {draft.of} is itself a change of message {target.of}: refer to that one")
        if target.redacted:
            return BadReference(f"message {draft.of} was redacted")
        is_same_sender = draft.sender == target.sender and draft.verified == target.verified
        if draft.act is Act.EDIT and not (is_same_sender and (draft.verified or self._trusts_names())):
            return Forbidden("only the sender of a message edits it, and has to be identified by a token")
        return None

    async def _redact_late_edit(self, outcome: Outcome) -> Outcome:
        """Redact an edit of a message that another process redacted after the check: no text of it may stay.

        If the store fails, return its error in place of the receipt, and do not raise it: the drafts are committed. An
        edit with a key is sent again, and then found and checked.
        """
        if isinstance(outcome, Receipt) and outcome.message.act is Act.EDIT:
            edit = outcome.message
            try:
                target = await _read(self._backend, edit.room, edit.of or 0)
                if target is not None and target.redacted:
                    await self._backend.redact(edit.room, edit.seq)
            except ChatkitError as error:
                return error
        return outcome


class _Batch:
    """What the drafts of a batch that were accepted so far change: the store does not know of them yet."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reactions: dict[tuple[_Target, str, str], bool] = {}
        self._emojis: dict[_Target, set[str]] = {}
        self._pins: dict[_Target, bool] = {}

    async def decide(self, draft: Draft, target: Message) -> Outcome | None:
        """Return the outcome of a draft that is not to be appended, or None for one that is, and from now on count it.

        `target` is in its current state.
        """
        match draft.act:
            case Act.REACT | Act.UNREACT:
                return await self._react(draft, target, is_wanted=draft.act is Act.REACT)
            case Act.PIN | Act.UNPIN:
                is_wanted = draft.act is Act.PIN
                key = target.room, target.seq
                was = self._pins.get(key, (target.state or NO_STATE).is_pinned)
                self._pins[key] = is_wanted
                return Receipt(target, repeat=True) if was == is_wanted else None
            case _:
                return None

    async def in_stored_form(self, draft: Draft, target: Message) -> Draft:
        """Return the removal of a reaction with its emoji as it is stored: without selectors by older versions."""
        if draft.act is Act.UNREACT and not await self._has_reaction(draft, target):
            for each in (target.state or NO_STATE).reactions:
                stored = replace(draft, body=each.emoji)
                if is_same_emoji(each.emoji, draft.body) and await self._has_reaction(stored, target):
                    return stored
        return draft

    async def _react(self, draft: Draft, target: Message, *, is_wanted: bool) -> Outcome | None:
        key = target.room, target.seq
        reaction = key, draft.body, draft.sender
        was = self._reactions.get(reaction)
        if was is None:
            was = await self._has_reaction(draft, target)
        if was == is_wanted:
            return Receipt(target, repeat=True)
        if is_wanted:
            emojis = self._emojis.setdefault(key, {each.emoji for each in (target.state or NO_STATE).reactions})
            if draft.body not in emojis and len(emojis) >= MAX_EMOJIS:
                return BadReference(f"message {target.seq} has {MAX_EMOJIS} different reactions already")
            emojis.add(draft.body)
        self._reactions[reaction] = is_wanted
        return None

    async def _has_reaction(self, draft: Draft, target: Message) -> bool:
        found = [each for each in (target.state or NO_STATE).reactions if each.emoji == draft.body]
        if not found or draft.sender in found[0].by:
            return bool(found)
        if found[0].count <= len(found[0].by):
            return False
        return await self._backend.has_reaction(target.room, target.seq, draft.body, draft.sender)


def _has_to_be_checked(draft: Draft) -> bool:
    return draft.of is not None and draft.act is not Act.REDACT  # the entry of a redaction that was made


async def _read(backend: Backend, room: str, seq: int) -> Message | None:
    """Return a message in its current state, or a change as it was written."""
    for folded in (True, False):
        page = await backend.read(room, after=seq - 1, before=seq + 1, limit=1, folded=folded)
        if page.messages or page.head.last < seq:
            break
    return page.messages[0] if page.messages else None
