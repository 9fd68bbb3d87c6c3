"""Administration: every change of a token in a store, its rules, and its entry in the audit."""

import asyncio
import re
from typing import Any

import pytest
from administration_site import NOBODY, READ_OPS, ROOT, Site, outcome, with_site
from harness import eventually

from chatkit.backends.memory import MemoryBackend
from chatkit.core import access_records
from chatkit.core.access import EVERYTHING, Grant, Identity, Right, RoomSettings
from chatkit.core.access_maintenance import maintain_access
from chatkit.core.administration import Administration
from chatkit.core.audit import MAX_ATTEMPTS
from chatkit.core.model import MAX_TIME_MS
from chatkit.core.token import TokenKind
from chatkit.errors import BadName, BadRequest, Forbidden, NameTaken, Unauthorized, VersionConflict


@with_site
async def test_a_new_token_is_valid_and_its_secret_is_kept_nowhere(at: Site) -> None:
    new = await at.admin.add_token(ROOT, " ann ", READ_OPS, kind=TokenKind.BOT)
    identity = await at.identity(new)
    assert (identity.name, identity.is_bot, identity.grants) == ("ann", True, READ_OPS)
    stored = b"".join(record.value or b"" for record in (await at.backend.record_changes(None)).records)
    assert new.secret[-43:].encode() not in stored
    assert new.secret not in repr(new)


@with_site
async def test_only_an_administrator_administers(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    room_admin = Identity("bob", grants=(Grant("ops*", (Right.ADMIN,)),))
    for by in (NOBODY, room_admin):
        for job in (
            at.admin.add_token(by, "dan", READ_OPS),
            at.admin.make_invite(by, READ_OPS),
            at.admin.tokens(by),
            at.admin.revoke(by, new.token.id),
            at.admin.rotate(by, new.token.id),
            at.admin.remove(by, new.token.id),
            at.admin.revoke(by, "missing"),
            at.moderation.ban(by, "ann"),
        ):
            assert await outcome(job) == "forbidden"
    assert await at.events() == ["token-added"]


@with_site
async def test_a_name_may_have_several_tokens_and_no_look_alike(at: Site) -> None:
    one = await at.admin.add_token(ROOT, "ann", READ_OPS)
    at.now_ms += 1
    two = await at.admin.add_token(ROOT, "ann", READ_OPS)
    assert [token.id for token in await at.admin.tokens(ROOT) if token.name == "ann"] == [one.token.id, two.token.id]
    for name in ("Ann", "\u0430nn", "a\u200dnn", "anonymous", "an0nymous"):
        with pytest.raises((NameTaken, BadName)):
            await at.admin.add_token(ROOT, name, READ_OPS)
    assert len(await at.admin.tokens(ROOT)) == 2


@with_site
async def test_look_alikes_cannot_be_given_away_at_the_same_moment(at: Site) -> None:
    names = ["ann", "\u0430nn", "ANN", "\uff41nn", "\u0391NN"]
    jobs = [(at.admin, at.other)[n % 2].add_token(ROOT, name, READ_OPS) for n, name in enumerate(names)]
    results = await asyncio.gather(*map(outcome, jobs))
    assert sorted(results) == ["done", *["name-taken"] * 4]
    assert len(await at.admin.tokens(ROOT)) == 1


@with_site
async def test_revoking_a_token_leaves_the_others_of_its_name(at: Site) -> None:
    mine, yours = [await at.admin.add_token(ROOT, "ann", READ_OPS) for _ in range(2)]
    await at.admin.revoke(ROOT, mine.token.id)
    await at.admin.revoke(ROOT, mine.token.id)
    await at.identity(yours)
    with pytest.raises(Unauthorized, match="revoked"):
        await at.identity(mine)
    assert (await at.events()).count("token-revoked") == 1


@with_site
async def test_people_may_revoke_and_rotate_their_own_token_only(at: Site) -> None:
    mine, yours = [await at.admin.add_token(ROOT, "ann", READ_OPS) for _ in range(2)]
    me = await at.identity(mine)
    rotated = await at.admin.rotate(me, mine.token.id)
    await at.identity(rotated)
    for change in (at.admin.revoke, at.admin.rotate):
        with pytest.raises(Forbidden):
            await change(me, yours.token.id)
    assert (await at.admin.revoke(me, mine.token.id)).revoked_ms == at.now_ms


@with_site
async def test_a_name_is_free_when_its_last_token_was_removed(at: Site) -> None:
    one, two = [await at.admin.add_token(ROOT, "\u03bdera", READ_OPS) for _ in range(2)]
    with pytest.raises(BadRequest, match="in use"):
        await at.admin.remove(ROOT, one.token.id)
    for new in (one, two):
        await at.admin.revoke(ROOT, new.token.id)
        assert (await at.table()).holder_of("vera") == "\u03bdera"
        await at.admin.remove(ROOT, new.token.id)
    assert (await at.table()).holder_of("vera") is None
    await at.admin.add_token(ROOT, "vera", READ_OPS)


@with_site
async def test_rotation_overlaps_as_long_as_asked(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    rotated = await at.admin.rotate(ROOT, new.token.id, overlap_s=10)
    await at.identity(new)
    await at.identity(rotated)
    at.now_ms += 10_000
    await at.identity(rotated)
    with pytest.raises(Unauthorized):
        await at.identity(new)
    await at.admin.revoke(ROOT, new.token.id)
    with pytest.raises(BadRequest):
        await at.admin.rotate(ROOT, new.token.id)


@with_site
async def test_a_secret_that_was_replaced_replaces_no_other(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    rotated = await at.admin.rotate(ROOT, new.token.id, overlap_s=10)
    former, current = await at.identity(new), await at.identity(rotated)
    assert await outcome(at.admin.rotate(former, new.token.id)) == "forbidden"
    await at.identity(rotated)
    jobs = [admin.rotate(current, new.token.id) for admin in (at.admin, at.other)]
    assert sorted(await asyncio.gather(*map(outcome, jobs))) == ["done", "forbidden"]


@with_site
async def test_numbers_and_times_are_checked(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    for job in (
        at.admin.add_token(ROOT, "bob", READ_OPS, expires_ms=at.now_ms),
        at.admin.add_token(ROOT, "bob", READ_OPS, expires_ms=MAX_TIME_MS),  # the year 10000 has no RFC 3339 time
        at.admin.add_token(ROOT, "bob", READ_OPS, kind=TokenKind.INVITE),
        at.admin.make_invite(ROOT, READ_OPS, uses=0),
        at.admin.make_invite(ROOT, READ_OPS, uses=10**9),
        at.admin.rotate(ROOT, new.token.id, overlap_s=10**9),
        at.moderation.ban(ROOT, "ann", until_ms=at.now_ms),
        at.moderation.ban(ROOT, "ann", until_ms=MAX_TIME_MS),
        at.moderation.ban(ROOT, "ann", reason="x" * 1000),
        at.moderation.ban(ROOT, "ann", reason="two\nlines"),
        at.moderation.set_room(ROOT, "ops", lambda _: RoomSettings(keep=0)),
        at.moderation.set_room(ROOT, "ops", lambda _: RoomSettings(topic="\x1b[2J")),
    ):
        assert await outcome(job) == "bad-request"


@with_site
async def test_a_use_of_a_token_is_shown_soon(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    table = await at.table()
    table.authenticate(new.secret, "192.0.2.1", at.now_ms)
    maintaining = asyncio.create_task(maintain_access(table, at.admin, at.moderation))

    async def is_shown() -> bool:
        return (await at.admin.tokens(ROOT))[0].last_used_ms == at.now_ms

    await eventually(is_shown)
    maintaining.cancel()


@with_site
async def test_the_first_use_of_a_token_is_an_entry(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    for server in (at.admin, at.other):
        await server.record_use(new.token.id, at.now_ms, "192.0.2.1")
    await at.admin.record_use("missing", at.now_ms, "192.0.2.1")
    assert (await at.events()).count("token-used") == 1
    assert (await at.admin.tokens(ROOT))[0].last_used_ms == at.now_ms


@with_site
async def test_refused_attempts_are_recorded_once_a_minute_and_bounded(at: Site) -> None:
    for n in range(3):
        await at.admin.record_refusal(f"2001:db8::{n}", "this token is not valid here")
    assert await at.events() == ["attempt-refused"]
    for n in range(2 * MAX_ATTEMPTS):
        await at.admin.record_refusal(f"192.0.2.{n}", "this token is not valid here")
    assert len(await at.events()) == MAX_ATTEMPTS
    at.now_ms += 60_000
    await at.admin.record_refusal("2001:db8::1", "this token is not valid here")
    assert len(await at.events()) == MAX_ATTEMPTS + 1


@with_site
async def test_the_audit_names_who_did_what_and_holds_no_secret(at: Site) -> None:
    by = Identity("root", is_verified=True, grants=EVERYTHING, address="192.0.2.1")
    new = await at.admin.add_token(by, "ann", READ_OPS)
    rotated = await at.admin.rotate(by, new.token.id, overlap_s=5)
    invite = await at.admin.make_invite(by, READ_OPS)
    redeemed = await at.redeem(at.admin, invite, "dan")
    await at.admin.record_use(new.token.id, at.now_ms, "192.0.2.1")
    await at.moderation.ban(by, "eve", reason="spam")
    await at.admin.revoke(by, new.token.id)
    await at.admin.remove(by, new.token.id)
    entries = await at.audit()
    assert [entry.data["event"] for entry in entries] == [
        "token-added", "token-rotated", "invite-added", "invite-redeemed", "token-used", "ban-added", "token-revoked",
        "token-removed",
    ]  # fmt: skip
    first = entries[0]
    assert (first.sender, first.verified, first.body) == ("root", True, "made a person token for ann: read on ops")
    assert first.data.items() >= {"by": "root", "from": "192.0.2.1", "target": new.token.id, "name": "ann"}.items()
    text = repr(entries)
    for made in (new, rotated, invite, redeemed):
        assert made.secret[-43:] not in text
        assert made.token.digest not in text
    assert not re.search("ck_[a-z0-9]", text)


@with_site
async def test_a_change_that_always_conflicts_is_given_up(at: Site) -> None:
    class Contended(MemoryBackend):
        async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Any:
            raise VersionConflict(kind, key)

    async with Contended() as backend:
        with pytest.raises(VersionConflict):
            await Administration(backend, lambda: 0).add_token(ROOT, "ann", READ_OPS)
        assert await backend.scan_records(access_records.TOKEN) == []
