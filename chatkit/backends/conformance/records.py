"""Conformance: records, the small versioned values beside the rooms."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from chatkit.backends.conformance.suite import Factory, case, check, drafts_in, expect, shared_case
from chatkit.core.backend import Backend
from chatkit.core.model import Cursor
from chatkit.core.records import MAX_KEY_BYTES, MAX_KIND_CHARS, MAX_VALUE_BYTES, Record
from chatkit.errors import BadRequest, ChatkitError, VersionConflict

State = dict[tuple[str, str], tuple[bytes | None, int]]
"""The value and version of each record that a reader of changes knows."""


@case
async def a_record_is_read_as_it_was_put(factory: Factory) -> None:
    values = [b"", b"\0\xff\x80 bytes", "{'ü'}".encode(), b"x" * MAX_VALUE_BYTES]
    keys = ["k", "K", "größe/カフェ", "'; DROP TABLE record; --", "x" * MAX_KEY_BYTES]
    async with factory() as backend:
        expect(await backend.get_record("token", "k"), None, "a key that was never used")
        for value in values:
            for key in keys:
                known = await backend.get_record("token", key)
                put = await backend.put_record(
                    "token", key, value, expected_version=0 if known is None else known.version
                )
                expect((put.kind, put.key, put.value), ("token", key, value), "the record that put returns")
                expect(await backend.get_record("token", key), put, "the record that get returns")
        expect(await backend.get_record("ban", "k"), None, "the key of another kind")
        check(put.version > 0, "a version is positive")


@case
async def a_put_with_another_version_changes_nothing(factory: Factory) -> None:
    async with factory() as backend:
        await conflict(backend, "a", b"1", 7)
        first = await put(backend, "a", b"1", 0)
        for version in (0, first.version - 1, first.version + 1):
            await conflict(backend, "a", b"2", version)
            await conflict(backend, "a", None, version)
        await put(backend, "b", b"1", 0)
        expect(await backend.get_record("token", "a"), first, "the record")
        second = await put(backend, "a", b"2", first.version)
        await conflict(backend, "a", b"3", first.version)
        expect(await backend.get_record("token", "a"), second, "the record after the second put")
        same = await put(backend, "a", b"2", second.version)
        check(same.version > second.version, "an equal value is a change, too")


@case
async def versions_of_a_store_grow_strictly(factory: Factory) -> None:
    async with factory() as backend:
        versions = []
        for n in range(12):
            kind, key = ["token", "ban"][n % 2], f"k{n % 3}"
            known = await backend.get_record(kind, key)
            value = None if n % 4 == 3 else b"%d" % n
            record = await backend.put_record(kind, key, value, expected_version=0 if known is None else known.version)
            versions.append(record.version)
        expect(versions, sorted(set(versions)), "the versions")


@case
async def a_deleted_record_keeps_its_version(factory: Factory) -> None:
    async with factory() as backend:
        first = await put(backend, "a", b"1", 0)
        gone = await put(backend, "a", None, first.version)
        expect((gone.value, gone.version > first.version), (None, True), "the deletion")
        expect(await backend.get_record("token", "a"), gone, "the deleted record")
        expect(list(await backend.scan_records("token")), [], "the records that exist")
        await conflict(backend, "a", b"2", 0)
        await conflict(backend, "a", b"2", first.version)
        again = await put(backend, "a", b"2", gone.version)
        check(again.version > gone.version, "a record that is made again gets a higher version")
        expect(list(await backend.scan_records("token")), [again], "the records that exist")
        never = await put(backend, "b", None, 0)
        expect(await backend.get_record("token", "b"), never, "a deletion of a key that was never used")


@case
async def a_scan_takes_every_character_of_a_prefix_literally(factory: Factory) -> None:
    prefixes = ["a%", "a_", "a*", "a[b]", "a?", "a\\", "a'", "a{x}", "a/b:", "a", "A", "ä", "a\U0010ffff", "\U0010ffff"]
    keys = sorted({*prefixes, *(f"{prefix}1" for prefix in prefixes), "ab", "aXb", "b", "B1", "a\ue000", "a\ud7ff"})
    async with factory() as backend:
        for kind in ("grant", "token"):
            for key in keys:
                await backend.put_record(kind, key, key.encode(), expected_version=0)
        for prefix in ["", *prefixes, "nothing", "a%1x"]:
            found = await backend.scan_records("token", prefix)
            wanted = [key for key in keys if key.startswith(prefix)]
            expect([record.key for record in found], wanted, f"the keys that begin with {prefix!r}, in order")
            check(
                all(record.kind == "token" and record.value == record.key.encode() for record in found), "the records"
            )
        expect(list(await backend.scan_records("toke")), [], "a kind that was never used")


@case
async def kinds_keys_and_values_have_limits(factory: Factory) -> None:
    async with factory() as backend:
        for kind, key, value in [
            ("", "k", b""),
            ("k" * (MAX_KIND_CHARS + 1), "k", b""),
            ("a b", "k", b""),
            ("a:b", "k", b""),
            ("ä", "k", b""),
            ("token", "", b""),
            ("token", "k" * (MAX_KEY_BYTES + 1), b""),
            ("token", "ä" * (MAX_KEY_BYTES // 2 + 1), b""),
            ("token", "nul \0", b""),
            ("token", "\ud800", b""),
            ("token", "k", b"x" * (MAX_VALUE_BYTES + 1)),
        ]:
            try:
                await backend.put_record(kind, key, value, expected_version=0)
            except BadRequest:
                continue
            raise AssertionError(f"the record {kind!r}, {key[:9]!r} was accepted")
        changes = await backend.record_changes(None)
        expect(list(changes.records), [], "the records after all were refused")
        longest = "k" * MAX_KIND_CHARS, "ä" * (MAX_KEY_BYTES // 2)
        put = await backend.put_record(*longest, b"x" * MAX_VALUE_BYTES, expected_version=0)
        expect(await backend.get_record(*longest), put, "the largest record")


@case
async def changes_are_whole_at_first_and_then_only_what_changed(factory: Factory) -> None:
    async with factory() as backend:
        nothing = await backend.record_changes(None)
        expect((list(nothing.records), nothing.whole), ([], True), "the changes of an empty store")
        a, b = await put(backend, "a", b"1", 0), await put(backend, "b", b"1", 0)
        first = await backend.record_changes(nothing.cursor)
        expect((list(first.records), first.whole), ([a, b], False), "the changes after the first call")
        none = await backend.record_changes(first.cursor)
        expect((list(none.records), none.whole, none.cursor), ([], False, first.cursor), "no changes")
        gone = await put(backend, "a", None, a.version)
        ban = await backend.put_record("ban", "x", b"", expected_version=0)
        b = await put(backend, "b", b"3", (await put(backend, "b", b"2", b.version)).version)
        second = await backend.record_changes(none.cursor)
        expect((second.records[0], second.whole), (gone, False), "the deletion")
        expect(second.records[-1], b, "a record that changed twice, in its newest state")
        check(ban in second.records, "a change of another kind")
        again = await backend.record_changes(none.cursor)
        expect(again, second, "the same changes again: the call removes nothing")
        whole = await backend.record_changes(None)
        expect((list(whole.records), whole.whole, whole.cursor), ([ban, b], True, second.cursor), "all that exists")
        for stranger in (Cursor("otherepoch", 0), Cursor(whole.cursor.epoch, whole.cursor.seq + 1_000)):
            expect(await backend.record_changes(stranger), whole, f"the changes after {stranger}, of another store")


@case
async def of_concurrent_puts_exactly_one_succeeds(factory: Factory) -> None:
    async with factory() as backend:
        await put_together([backend])


@shared_case
async def of_concurrent_puts_by_several_backends_exactly_one_succeeds(factory: Factory) -> None:
    async with factory() as one, factory() as two, factory() as three:
        await put_together([one, two, three])


@shared_case
async def a_put_by_another_backend_is_seen_at_once(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        cursor = (await two.record_changes(None)).cursor
        version = 0
        for n in range(20):
            record = await put([one, two][n % 2], "a", b"%d" % n, version)
            version = record.version
            for backend in (one, two):
                expect(await backend.get_record("token", "a"), record, f"the record after put {n}")
                expect(list(await backend.scan_records("token")), [record], f"the scan after put {n}")
            changes = await two.record_changes(cursor)
            expect((list(changes.records), changes.whole), ([record], False), f"the changes after put {n}")
            cursor = changes.cursor


@shared_case
async def a_reader_of_changes_misses_nothing_while_others_write(factory: Factory) -> None:
    async with factory() as one, factory() as two, factory() as reader:
        writers = [asyncio.ensure_future(write_some([one, two][n % 2], n)) for n in range(4)]
        state: State = {}
        cursor, is_last, last_version = None, False, 0
        while not is_last:
            is_last = all(writer.done() for writer in writers)
            changes = await reader.record_changes(cursor)
            expect(changes.whole, cursor is None, "whether the changes are whole")
            versions = [record.version for record in changes.records]
            expect(versions, sorted(set(versions)), "the order of the versions")
            check(changes.whole or not versions or versions[0] > last_version, "no version comes twice")
            check(not versions or versions[-1] <= changes.cursor.seq, "the cursor is not before the last version")
            cursor, last_version = changes.cursor, changes.cursor.seq
            state |= {(record.kind, record.key): (record.value, record.version) for record in changes.records}
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        found = {key: known for key, known in state.items() if known[0] is not None}
        wanted = [record for kind in ("token", "ban") for record in await reader.scan_records(kind)]
        expect(found, state_of(wanted), "what the reader knows, and a scan")
        expect(state_of((await one.record_changes(None)).records), found, "what the reader knows, and all that exists")


@shared_case
async def reopening_keeps_records(factory: Factory) -> None:
    async with factory() as backend:
        a, b = await put(backend, "a", b"1", 0), await put(backend, "b", b"1", 0)
        gone = await put(backend, "a", None, a.version)
        cursor = (await backend.record_changes(None)).cursor
        await backend.append(drafts_in("ops", 1))
    async with factory() as backend:
        expect(await backend.get_record("token", "a"), gone, "the deleted record")
        expect(list(await backend.scan_records("token")), [b], "the records")
        changes = await backend.record_changes(cursor)
        expect((list(changes.records), changes.whole, changes.cursor), ([], False, cursor), "the changes")
        await conflict(backend, "b", b"2", 0)
        again = await put(backend, "a", b"2", gone.version)
        check(again.version > gone.version, "the next version")
        await backend.trim(keep=0)
        expect(list(await backend.scan_records("token")), [again, b], "the records after a trim")


@case
async def records_do_not_appear_in_rooms_nor_rooms_in_records(factory: Factory) -> None:
    async with factory() as backend:
        cursor = (await backend.record_changes(None)).cursor
        await put(backend, "ops", b"1", 0)
        expect(await backend.rooms(), [], "the rooms")
        await backend.append(drafts_in("ops", 1))
        await backend.redact("ops", 1)
        expect(len((await backend.record_changes(cursor)).records), 1, "the number of changes")


async def changes_of_a_wiped_store_are_whole(factory: Factory, wipe: Callable[[], Awaitable[object]]) -> None:
    """Check a store that `wipe` makes empty, or replaces by an older copy, while no backend of the case has it open.

    This is not in the list of cases: the test of each backend calls it with the ways in which its store can be lost.
    """
    async with factory() as backend:
        await backend.append(drafts_in("a", 1, 2, 3))
        for n in range(5):
            await put(backend, f"k{n}", b"old", 0)
        cursor = (await backend.record_changes(None)).cursor
        old = (await backend.read("a")).head.epoch
    await wipe()
    async with factory() as backend:
        check((await backend.read("a")).head.epoch != old, "the rooms of a wiped store have another epoch")
        known = await backend.get_record("token", "new")
        new = await put(backend, "new", b"new", 0 if known is None else known.version)
        changes = await backend.record_changes(cursor)
        check(changes.whole, "the changes after a cursor of the lost store are whole")
        check(changes.cursor.epoch != cursor.epoch, "the epoch of the cursor is another")
        check(new in changes.records, "the record that was put afterwards is among them")
        check(not (await backend.record_changes(changes.cursor)).whole, "the next changes are not whole")


async def put(backend: Backend, key: str, value: bytes | None, version: int) -> Record:
    return await backend.put_record("token", key, value, expected_version=version)


async def conflict(backend: Backend, key: str, value: bytes | None, version: int) -> None:
    try:
        await put(backend, key, value, version)
    except VersionConflict:
        return
    raise AssertionError(f"a put of {key!r} with the expected version {version} was accepted")


async def put_together(backends: Sequence[Backend]) -> None:
    """Put from many tasks at the same time: one put of a version succeeds, and no increment of a counter is lost."""
    version = 0
    for n in range(10):
        tries = [put(backends[i % len(backends)], "race", b"%d.%d" % (n, i), version) for i in range(9)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        records = [result for result in results if isinstance(result, Record)]
        losers = [result for result in results if isinstance(result, VersionConflict)]
        expect((len(records), len(losers)), (1, 8), f"how many of nine puts with version {version} succeeded or lost")
        expect(await backends[0].get_record("token", "race"), records[0], "the record")
        version = records[0].version
    await asyncio.gather(*(increment(backends[n % len(backends)], 5) for n in range(8)))
    counter = await backends[-1].get_record("token", "counter")
    expect(None if counter is None else counter.value, b"40", "a counter that eight tasks incremented five times each")


async def increment(backend: Backend, times: int) -> None:
    done = 0
    while done < times:
        known = await backend.get_record("token", "counter")
        value = 0 if known is None or known.value is None else int(known.value)
        try:
            await put(backend, "counter", b"%d" % (value + 1), 0 if known is None else known.version)
        except VersionConflict:
            continue
        done += 1


async def write_some(backend: Backend, writer: int) -> None:
    """Put, change and delete records, some of which other writers change as well."""
    for n in range(40):
        kind, key = ["token", "ban"][n % 2], f"shared{n % 3}" if n % 4 == 0 else f"{writer}.{n % 7}"
        known = await backend.get_record(kind, key)
        value = None if n % 5 == 4 else b"%d.%d" % (writer, n)
        try:
            await backend.put_record(kind, key, value, expected_version=0 if known is None else known.version)
        except VersionConflict:
            continue
        except ChatkitError as error:
            raise AssertionError(f"a put failed: {error}") from error


def state_of(records: Sequence[Record]) -> State:
    return {(record.kind, record.key): (record.value, record.version) for record in records}
