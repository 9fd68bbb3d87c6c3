"""Moderation: bans, mutes and kicks, and the settings and deletion of a room."""

import asyncio

import msgspec
import pytest
from administration_site import NOBODY, ROOT, Site, outcome, with_site

from chatkit.core import access_records, access_store, moderation
from chatkit.core.access import Ban, BanSubject, Grant, Identity, Right, RoomSettings
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.model import Draft
from chatkit.errors import BadName, BadRequest, Banned, NotFound

MODERATE_OPS = (Grant("ops", (Right.MODERATE,)),)


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
async def test_long_lists_are_made_in_short_turns_of_the_loop(at: Site) -> None:
    by = Identity("mod", is_verified=True, grants=MODERATE_OPS)
    n_values = 5 * access_store.AT_ONCE
    for n in range(n_values):
        ban = Ban(f"id{n}", BanSubject.NAME, "dan", "dev" if n % 5 else "ops", "", "root", (n * 7919) % n_values)
        await at.backend.put_record(access_records.BAN, ban.id, access_records.encode(ban), expected_version=0)
    for listing, n_listed in ((at.moderation.bans(ROOT), n_values), (at.moderation.bans(by), n_values // 5)):
        task = asyncio.ensure_future(listing)
        n_turns = 0
        while not task.done():
            n_turns += 1
            await asyncio.sleep(0)
        assert n_turns >= (n_values + 2 * n_listed) // access_store.AT_ONCE
        times = [ban.created_ms for ban in task.result()]
        assert (len(times), times) == (n_listed, sorted(times))


@with_site
async def test_a_mistyped_network_is_not_banned_as_a_name(at: Site) -> None:
    for subject in ("300.1.1.1", "10.0.0.0/99", "10.0.0/8", "2001:db8::1::2", "fe80::/999"):
        with pytest.raises(BadRequest, match="not an IP address or network"):
            await at.moderation.ban(ROOT, subject)
    for name in ("1.2.3", "a.b.c.d", "ann:bob", "1/2 ann"):
        assert (await at.moderation.ban(ROOT, name)).kind is BanSubject.NAME


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
async def test_a_moderator_cannot_use_up_all_bans(at: Site) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MAX_BANS", 7), ("MAX_BANS_OF_MODERATOR", 3), ("KEPT_FOR_ADMINS", 2)):
            patch.setattr(moderation, name, value)
        one, two = (Identity(name, is_verified=True, grants=MODERATE_OPS) for name in ("mod", "other"))
        until_ms = at.now_ms + 1_000
        kept = await at.moderation.ban(one, "a0", room="ops")
        for name in ("a1", "a2"):
            await at.moderation.ban(one, name, room="ops", until_ms=until_ms)
        with pytest.raises(BadRequest, match="a moderator can make 3 bans: remove some"):
            await at.moderation.ban(one, "b", room="ops")
        await at.moderation.ban(two, "c0", room="ops")
        await at.moderation.ban(two, "c1", room="ops")
        with pytest.raises(BadRequest, match="moderators can make 5 bans in all: ask an administrator"):
            await at.moderation.ban(two, "c2", room="ops")
        await at.moderation.ban(ROOT, "d0")
        last = await at.moderation.ban(ROOT, "d1")
        with pytest.raises(BadRequest, match="a store holds at most 7 bans"):
            await at.moderation.ban(ROOT, "d2")
        await at.moderation.unban(ROOT, last.id)
        at.now_ms = until_ms
        await at.moderation.ban(one, "e", room="ops")
        assert {ban.subject for ban in await at.moderation.bans(ROOT)} == {kept.subject, "c0", "c1", "d0", "e"}


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
