"""All backends: the conformance suite, a model-based test with hypothesis, and backend URLs.

The cases on PostgreSQL are in test_postgres_conformance.py: they take as long as all others, and run beside them.
"""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chatkit.backends import conformance, open_backend
from chatkit.backends.conformance import retention
from chatkit.backends.memory import MemoryBackend
from chatkit.core.backend import Backend
from chatkit.core.model import Draft, Message
from chatkit.errors import BadBackendURL, BadRequest, NotFound

Make = Callable[[], Backend]
Step = tuple[Any, ...]  # the name of a function below, and its arguments
MATRIX = [("memory", case) for case in conformance.cases(shared=False)]
MATRIX += [(kind, case) for kind in ("sqlite", "redis", "redis-cluster") for case in conformance.cases(shared=True)]

FRESH: dict[str, Callable[[], str]] = {
    "redis": stores.redis,
    "redis-cluster": stores.redis_cluster,
    "postgres": stores.emptied_postgres,
}

numbers = itertools.count()


def factory(kind: str, folder: Path) -> Make:
    """Return a factory of backends on one empty store."""
    if kind == "memory":
        return lambda: open_backend("memory://")
    url = FRESH[kind]() if kind in FRESH else f"sqlite:///{folder}/{next(numbers)}.db"
    return lambda: open_backend(url)


@pytest.mark.parametrize(("kind", "case"), MATRIX, ids=lambda value: getattr(value, "__name__", value))
def test_conforms(kind: str, case: conformance.Case, tmp_path: Path) -> None:
    conformance.run(case, factory(kind, tmp_path))


def test_shared_is_true_for_stores_of_several_processes(tmp_path: Path) -> None:
    assert not factory("memory", tmp_path)().shared
    assert factory("sqlite", tmp_path)().shared


def test_the_suite_detects_a_backend_that_breaks_the_contract() -> None:
    class Forgetful(MemoryBackend):
        async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
            await super().trim(room, keep=keep, before_ms=before_ms)
            return 0

    with pytest.raises(AssertionError, match="how many were dropped"):
        conformance.run(retention.trimming_keeps_the_numbers_of_the_rest, Forgetful)


class Model:
    """The rooms of a backend, as plain lists."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[Message]] = {}
        self.dropped: dict[str, int] = {}
        self.used: set[str] = set()  # names that a log had

    def last(self, room: str) -> int:
        return self.dropped.get(room, 0) + len(self.rooms.get(room, []))

    def stored(self, draft: Draft) -> Message | None:
        if draft.key is None:
            return None
        kept = self.rooms.get(draft.room, [])
        return next((m for m in kept if (m.sender, m.key) == (draft.sender, draft.key)), None)


rooms = st.sampled_from(["a", "A", "b"])
seqs = st.integers(0, 25)
drafts = st.builds(
    Draft,
    rooms,
    st.sampled_from(["ann", "Bob"]),
    st.sampled_from(["", "x"]) | st.text(max_size=8),
    st.none() | st.dictionaries(st.text(max_size=3), st.integers(-9, 9), max_size=2),
    st.none() | st.sampled_from(["k1", "k2", "k3", "k4"]),
)
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(drafts, min_size=1, max_size=7)),
    st.tuples(st.just("trim"), st.integers(0, 6)),
    st.tuples(st.just("redact"), rooms, seqs),
    st.tuples(st.just("delete"), rooms),
    st.tuples(st.just("rename"), rooms, rooms),
    st.tuples(st.just("load"), rooms, st.integers(-3, 2), st.integers(0, 4)),
    st.tuples(st.just("read"), rooms, st.none() | seqs, st.none() | seqs, st.integers(1, 9)),
)


async def follow(backend: Backend, script: list[Step]) -> None:
    model = Model()
    operations: dict[str, Callable[..., Awaitable[None]]] = {
        "append": append,
        "trim": trim,
        "redact": redact,
        "delete": delete,
        "rename": rename,
        "load": load,
        "read": read,
    }
    async with backend:
        for step in script:
            await operations[step[0]](backend, model, *step[1:])
        for room in model.rooms:
            await read(backend, model, room, 0, None, 1_000)


async def append(backend: Backend, model: Model, batch: list[Draft]) -> None:
    receipts = await backend.append(batch)
    assert len(receipts) == len(batch)
    for draft, receipt in zip(batch, receipts, strict=True):
        stored = model.stored(draft)
        assert receipt.repeat == (stored is not None)
        if stored is not None:
            assert receipt.message == stored
            is_same = stored.redacted or (stored.body, stored.data) == (draft.body, draft.data)
            assert receipt.conflict == (not is_same)
            continue
        message = receipt.message
        assert message.seq == model.last(draft.room) + 1
        assert (message.sender, message.body, message.data, message.key) == (
            draft.sender,
            draft.body,
            draft.data,
            draft.key,
        )
        model.rooms.setdefault(draft.room, []).append(message)
        model.used.add(draft.room)


async def trim(backend: Backend, model: Model, keep: int) -> None:
    dropped = 0
    for room, messages in model.rooms.items():
        count = max(len(messages) - keep, 0)
        del messages[:count]
        model.dropped[room] = model.dropped.get(room, 0) + count
        dropped += count
    assert await backend.trim(keep=keep) == dropped


async def redact(backend: Backend, model: Model, room: str, seq: int) -> None:
    index = seq - model.dropped.get(room, 0) - 1
    if not 0 <= index < len(model.rooms.get(room, [])):
        with pytest.raises(NotFound):
            await backend.redact(room, seq)
        return
    message = await backend.redact(room, seq)
    assert message.redacted
    assert (message.body, message.data) == ("", None)
    model.rooms[room][index] = message


async def delete(backend: Backend, model: Model, room: str) -> None:
    epoch = (await backend.read(room)).head.epoch
    is_there = model.last(room) > 0
    assert await backend.delete_room(room) == is_there
    assert ((await backend.read(room)).head.epoch != epoch) == is_there
    model.rooms.pop(room, None)
    model.dropped.pop(room, None)


async def rename(backend: Backend, model: Model, room: str, new: str) -> None:
    if model.last(room) and (new == room or model.last(new)):
        with pytest.raises(BadRequest):
            await backend.rename_room(room, new)
    elif new != room:
        before = (await backend.read(room)).head.epoch
        assert await backend.rename_room(room, new) == (model.last(room) > 0)
        if model.last(room):
            epoch = (await backend.read(new)).head.epoch
            assert epoch == before or new in model.used  # another log may have had this epoch there
            kept = model.rooms.pop(room, [])
            model.rooms[new] = [replace(message, room=new, epoch=epoch) for message in kept]
            model.dropped[new] = model.dropped.pop(room, 0)
            model.used |= {room, new}


async def load(backend: Backend, model: Model, room: str, shift: int, count: int) -> None:
    head = (await backend.read(room)).head
    first = max(model.last(room) + 1 + shift, 1)
    messages = [
        Message(room, "elsewhere", seq, 10**12 + seq, "eve", f"loaded {seq}") for seq in range(first, first + count)
    ]
    new = [message for message in messages if message.seq > head.last]
    if new and model.rooms.get(room) and new[0].seq > head.last + 1:
        with pytest.raises(BadRequest):
            await backend.load(messages)
        return
    assert await backend.load(messages) == len(new)
    model.used.add(room)
    if new:
        if not model.rooms.get(room):
            model.dropped[room] = new[0].seq - 1
        epoch = (await backend.read(room)).head.epoch  # in Redis, a room has no epoch before its first message
        model.rooms.setdefault(room, []).extend(replace(message, epoch=epoch) for message in new)


async def read(backend: Backend, model: Model, room: str, after: int | None, before: int | None, limit: int) -> None:
    page = await backend.read(room, after=after, before=before, limit=limit)
    kept = model.rooms.get(room, [])
    found = [m for m in kept if (after is None or m.seq > after) and (before is None or m.seq < before)]
    wanted = found[-limit:] if after is None else found[:limit]
    assert list(page.messages) == wanted
    assert page.complete == (len(found) == len(wanted))
    assert (page.head.first, page.head.last) == (model.dropped.get(room, 0) + 1, model.last(room))


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis", "redis-cluster", "postgres"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, max_size=25))
def test_a_backend_behaves_like_lists(kind: str, tmp_path: Path, script: list[Step]) -> None:
    asyncio.run(follow(factory(kind, tmp_path)(), script))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rooms.db", "has no scheme"),
        ("", "has no scheme"),
        ("mysql://x", "there is no backend 'mysql'; known schemes: memory://, sqlite://"),
        ("redis://a,b", "accepts one server"),
        ("redis://a/b", "use a number, as in /0"),
        ("redis://a/0/1", "use a number, as in /0"),
        ("redis://a:b", "no valid port"),
        ("redis://user:secret@a:99999", "redis://a:99999 has no valid port"),
        ("redis://[::1", "is not a URL"),
        ("redis://a?prefix=", "without braces"),
        ("redis://a?prefix={x}", "without braces"),
        ("redis://a?wait=all", "must be a number of replicas, not 'all'"),
        ("redis://a?keep=5", "has no option 'keep'; known options: prefix, wait"),
        ("redis+cluster://a,b/0", "accepts no database"),
        ("redis+sentinel://a", "needs the service's name"),
        ("redis+pubsub://a?wait=1", "has no option 'wait'"),
        ("sqlite://rooms.db", "needs three slashes: sqlite:///rooms.db"),
        ("sqlite://var/rooms.db", "needs three slashes: sqlite:///var/rooms.db"),
        ("sqlite:rooms.db", "has no '//'"),
        ("memory:", "memory://"),
        ("sqlite:///rooms.db?journal=wal", "has no option 'journal'; known options: search, synchronous"),
        ("sqlite:///rooms.db?synchronous=off", "must be normal or full, not 'off'"),
        ("sqlite:///rooms.db?search=fast", "must be scan or index, not 'fast'"),
        ("sqlite:///rooms.db?synchronous=", "must be normal or full, not ''"),
        ("sqlite:///rooms.db?synchronous=full&synchronous=full", "more than once"),
        ("sqlite:///a#b.db", "write it as %23"),
        ("sqlite:///a%00b.db", "NUL"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///~nobody-of-this-name/x.db", "no home folder"),
        ("sqlite://[x/y", "is not a URL"),
        ("memory://x", "takes no path"),
        ("memory:///x", "takes no path"),
        ("memory://?keep=0", "whole number of at least 1"),
        ("memory://?keep=many", "whole number of at least 1"),
        ("memory://?keep=-1", "whole number of at least 1"),
        ("memory://?size=3", "has no option 'size'"),
    ],
)
def test_the_error_names_the_fault_of_a_url(url: str, words: str) -> None:
    with pytest.raises(BadBackendURL) as caught:
        open_backend(url)
    assert words in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "postgresql", "mysql", ""])
@pytest.mark.parametrize(
    "rest", ["//u:{}@[h", "//u:{}@h#x", "//u:a@{}@h", "//u:a/{}@h", "//u:a?{}@h", "u:{}@h", "/u:{}@h"]
)
def test_the_error_of_a_malformed_url_contains_no_password(scheme: str, rest: str) -> None:
    with pytest.raises(BadBackendURL) as caught:
        open_backend(f"{scheme}:{rest.format('hunter2')}")
    assert "hunter2" not in str(caught.value)


def test_a_driver_is_imported_when_its_scheme_is_used() -> None:
    code = (
        "import sys; from chatkit.backends import open_backend; assert 'sqlite3' not in sys.modules;"
        "open_backend('memory://'); assert 'sqlite3' not in sys.modules;"
        "open_backend('sqlite:///x.db'); assert 'sqlite3' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
