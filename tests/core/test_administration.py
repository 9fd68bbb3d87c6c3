"""Administration and moderation: every change of access in a store, its rules, and its entry in the audit."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core import access_records
from chatkit.core.access import EVERYTHING, BanSubject, Credential, Grant, Identity, Right, RoomSettings
from chatkit.core.access_table import AccessTable
from chatkit.core.administration import Administration, NewToken
from chatkit.core.audit import AUDIT_ROOM, MAX_ATTEMPTS
from chatkit.core.model import Draft, Message
from chatkit.core.moderation import Moderation
from chatkit.core.records import Record
from chatkit.core.token import TokenKind
from chatkit.errors import (
    BadName,
    BadRequest,
    Banned,
    ChatkitError,
    Forbidden,
    InviteUsed,
    NameTaken,
    NotFound,
    Unauthorized,
    VersionConflict,
)

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
READ_OPS = (Grant("ops", (Right.READ,)),)
MODERATE_OPS = (Grant("ops", (Right.MODERATE,)),)
NOBODY = Identity("cat", grants=READ_OPS)


class TurningBackend(MemoryBackend):
    """Lets other tasks run before each call, as a store on a network does."""

    async def get_record(self, kind: str, key: str) -> Record | None:
        await asyncio.sleep(0)
        return await super().get_record(kind, key)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        await asyncio.sleep(0)
        return await super().put_record(kind, key, value, expected_version=expected_version)


class Site:
    """Two servers on one store, and a clock."""

    def __init__(self, backend: MemoryBackend) -> None:
        self.backend = backend
        self.now_ms = 1_000_000
        self.admin, self.other = (Administration(backend, lambda: self.now_ms) for _ in range(2))
        self.moderation = Moderation(backend, lambda: self.now_ms)

    async def table(self, open_grants: tuple[Grant, ...] = ()) -> AccessTable:
        table = AccessTable(open_grants=open_grants)
        table.apply(await self.backend.record_changes(None))
        return table

    async def identity(self, new: NewToken) -> Identity:
        return (await self.table()).authenticate(new.secret, "192.0.2.1", self.now_ms)

    async def redeem(self, admin: Administration, invite: NewToken, name: str) -> NewToken:
        return await admin.redeem(invite.secret, (await self.table()).guest(name, "192.0.2.9", self.now_ms))

    async def audit(self) -> list[Message]:
        return [*(await self.backend.read(AUDIT_ROOM)).messages]

    async def events(self) -> list[str]:
        return [message.data["event"] for message in await self.audit()]


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with TurningBackend() as backend:
        yield Site(backend)


def with_site(test: Callable[[Site], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def main() -> None:
        async with site() as made:
            await test(made)

    def wrapped() -> None:
        run(main())

    wrapped.__name__ = test.__name__
    return wrapped


async def outcome(job: Coroutine[Any, Any, Any]) -> str:
    try:
        await job
    except ChatkitError as error:
        return error.code
    return "done"


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
async def test_the_former_link_of_an_invite_ends_with_the_overlap(at: Site) -> None:
    invite = await at.admin.make_invite(ROOT, READ_OPS, uses=3)
    rotated = await at.admin.rotate(ROOT, invite.token.id, overlap_s=10)
    await at.redeem(at.admin, invite, "dan")
    at.now_ms += 10_000
    assert await outcome(at.redeem(at.admin, invite, "eve")) == "invite-used"
    await at.redeem(at.admin, rotated, "eve")


@with_site
async def test_an_invite_gives_a_token_with_a_free_name(at: Site) -> None:
    await at.admin.add_token(ROOT, "ann", READ_OPS)
    invite = await at.admin.make_invite(ROOT, READ_OPS)
    guest = Identity("\u0430nn", address="192.0.2.9")
    for name in (guest, msgspec.structs.replace(guest, name="support"), msgspec.structs.replace(guest, name="ann")):
        with pytest.raises(NameTaken):
            await at.admin.redeem(invite.secret, name)
    dan = await at.identity(await at.redeem(at.admin, invite, "dan"))
    assert (dan.name, dan.is_verified, dan.grants) == ("dan", True, READ_OPS)
    with pytest.raises(InviteUsed):
        await at.redeem(at.admin, invite, "eve")
    assert (await at.table()).holder_of("eve") is None


@with_site
async def test_an_invite_is_used_once_on_two_servers_at_the_same_moment(at: Site) -> None:
    invite = await at.admin.make_invite(ROOT, READ_OPS, uses=2)
    jobs = [at.redeem((at.admin, at.other)[n % 2], invite, f"user{n}") for n in range(8)]
    results = await asyncio.gather(*map(outcome, jobs))
    assert sorted(results) == ["done", "done", *["invite-used"] * 6]
    people = [token.name for token in await at.admin.tokens(ROOT) if token.kind is TokenKind.PERSON]
    assert len(people) == 2
    table = await at.table()
    assert [table.holder_of(f"user{n}") is not None for n in range(8)].count(True) == 2


@with_site
async def test_an_invite_that_has_ended_is_not_redeemed(at: Site) -> None:
    expiring = await at.admin.make_invite(ROOT, READ_OPS, expires_ms=at.now_ms + 1)
    revoked = await at.admin.make_invite(ROOT, READ_OPS)
    await at.admin.revoke(ROOT, revoked.token.id)
    at.now_ms += 1
    for invite in (expiring, revoked):
        with pytest.raises(InviteUsed):
            await at.redeem(at.admin, invite, "dan")
    token = await at.admin.add_token(ROOT, "ann", READ_OPS)
    for secret in (token.secret, "", "ck_x", expiring.secret[:-1] + "-"):
        with pytest.raises(Unauthorized):
            await at.admin.redeem(secret, Identity("dan"))


@with_site
async def test_numbers_and_times_are_checked(at: Site) -> None:
    new = await at.admin.add_token(ROOT, "ann", READ_OPS)
    for job in (
        at.admin.add_token(ROOT, "bob", READ_OPS, expires_ms=at.now_ms),
        at.admin.add_token(ROOT, "bob", READ_OPS, kind=TokenKind.INVITE),
        at.admin.make_invite(ROOT, READ_OPS, uses=0),
        at.admin.make_invite(ROOT, READ_OPS, uses=10**9),
        at.admin.rotate(ROOT, new.token.id, overlap_s=10**9),
        at.moderation.ban(ROOT, "ann", until_ms=at.now_ms),
        at.moderation.ban(ROOT, "ann", reason="x" * 1000),
        at.moderation.ban(ROOT, "ann", reason="two\nlines"),
        at.moderation.set_room(ROOT, "ops", lambda _: RoomSettings(keep=0)),
        at.moderation.set_room(ROOT, "ops", lambda _: RoomSettings(topic="\x1b[2J")),
    ):
        assert await outcome(job) == "bad-request"


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
async def test_a_ban_is_in_force_until_it_is_removed(at: Site) -> None:
    ban = await at.moderation.ban(ROOT, "192.0.2.1/24", reason="spam")
    assert (ban.kind, ban.subject) == (BanSubject.NETWORK, "192.0.2.0/24")
    with pytest.raises(Banned):
        (await at.table()).guest("dan", "192.0.2.9", at.now_ms)
    assert await at.moderation.bans(ROOT) == [ban]
    await at.moderation.unban(ROOT, ban.id)
    (await at.table()).guest("dan", "192.0.2.9", at.now_ms)
    with pytest.raises(NotFound):
        await at.moderation.unban(ROOT, ban.id)
    assert await at.events() == ["ban-added", "ban-removed"]


@with_site
async def test_a_moderator_acts_in_their_rooms(at: Site) -> None:
    by = Identity("mod", is_verified=True, grants=MODERATE_OPS)
    elsewhere = await at.moderation.ban(ROOT, "dan", room="dev")
    at.now_ms += 1
    mute = await at.moderation.ban(by, "dan", room="ops", is_mute=True)
    at.now_ms += 1
    kick = await at.moderation.kick(by, "dan", "ops", "calm down")
    assert kick.until_ms == at.now_ms + 60_000
    assert await at.moderation.bans(by) == [mute, kick]
    assert await outcome(at.moderation.ban(by, "dan", room="dev")) == "not-found"
    assert await outcome(at.moderation.ban(by, "dan")) == "forbidden"
    assert await outcome(at.moderation.unban(by, elsewhere.id)) == "not-found"
    with pytest.raises(BadRequest, match="concern you"):
        await at.moderation.ban(by, "M0D", room="ops")
    at.now_ms += 60_000
    assert await at.moderation.remove_ended_bans() == 1
    assert await at.moderation.bans(ROOT) == [elsewhere, mute]


@with_site
async def test_a_decomposed_name_of_a_room_gives_no_other_rights(at: Site) -> None:
    other, own = (Identity("mod", grants=(Grant(rooms, (Right.ADMIN,)),)) for rooms in ("e*", "\u00e9cole"))
    room = "e\u0301cole"
    for change in (
        lambda by: at.moderation.ban(by, "dan", room=room),
        lambda by: at.moderation.set_room(by, room, lambda _: RoomSettings(archived=True)),
        lambda by: at.moderation.delete_room(by, room),
    ):
        assert await outcome(change(other)) == "not-found"
        assert await outcome(change(own)) == "done"
    assert [ban.room for ban in await at.moderation.bans(ROOT)] == ["\u00e9cole"]


@with_site
async def test_settings_of_a_room_are_kept_and_checked(at: Site) -> None:
    moderator = Identity("mod", grants=MODERATE_OPS)
    await at.moderation.set_room(moderator, "ops", lambda old: msgspec.structs.replace(old, topic="On call"))
    assert await outcome(at.moderation.set_room(moderator, "ops", lambda _: RoomSettings(archived=True))) == "forbidden"
    assert await outcome(at.moderation.set_room(NOBODY, "ops", lambda _: RoomSettings(topic="x"))) == "forbidden"
    archived = await at.moderation.set_room(ROOT, "ops", lambda old: msgspec.structs.replace(old, archived=True))
    assert await at.moderation.room_settings("ops") == archived == RoomSettings("On call", archived=True)
    assert (await at.table()).room_settings("ops") == archived
    await at.moderation.set_room(ROOT, "ops", lambda old: old)
    assert await at.events() == ["room-changed", "room-changed"]
    with pytest.raises(BadName):
        await at.moderation.set_room(ROOT, AUDIT_ROOM, lambda _: RoomSettings())


@with_site
async def test_a_room_is_deleted_with_its_settings(at: Site) -> None:
    await at.backend.append([Draft("ops", "ann", "hi")])
    await at.moderation.set_room(ROOT, "ops", lambda _: RoomSettings("x"))
    await at.moderation.delete_room(ROOT, "ops")
    assert await at.moderation.room_settings("ops") == RoomSettings()
    assert [info.room for info in await at.backend.rooms()] == [AUDIT_ROOM]
    assert await outcome(at.moderation.delete_room(ROOT, "ops")) == "not-found"
    assert await outcome(at.moderation.delete_room(Identity("mod", grants=MODERATE_OPS), "dev")) == "not-found"


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
