"""The short path and the routes give the same answers: each request is sent to a server with it and to one without."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from server_pair import JSON, SERVERS, Call, Pair, Server

from chatkit.backends import open_backend
from chatkit.core.backend import Backend
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.errors import ChatkitError
from chatkit.server.app import MAX_REQUEST_BYTES, open_app
from chatkit.server.settings import Settings


@pytest.fixture(scope="module", params=SERVERS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with Pair.open(**SERVERS[request.param]) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_pair() -> Iterator[Pair]:
    with Pair.open() as opened:
        yield opened


TEXT = st.text(max_size=12)
ROOMS = st.sampled_from(
    [
        "ops",
        "dev",
        ".audit",
        "a.b-c_d",
        "Raum\u00e9",
        "e\u0301",
        "\u0915\u0940",
        "x" * 64,
        "x" * 65,
        " ",
        "#ops",
        "..",
        "\n",
        "%",
    ]
)
PATHS = ROOMS.map(lambda room: f"/rooms/{room}/messages") | st.sampled_from(
    [
        "/chat/rooms/ops/messages",
        "/rooms/ops/messages/",
        "//rooms/ops/messages",
        "/rooms//messages",
        "/rooms/a/b/messages",
        "/rooms/ops/messages/1",
        "/rooms/ops",
        "/chat/chat/rooms/ops/messages",
    ]
)
QUERIES = st.sampled_from(
    [
        "",
        "",
        "name=ann",
        "name=bob",
        "name=",
        "name=%C3%A9",
        "name=%ff",
        "name=a+b",
        "name=a&name=b",
        "NAME=x",
        "name",
        "token=TOKEN",
        "limit=50",
        "limit=1",
        "limit=0",
        "limit=01",
        "limit=1000",
        "limit=1001",
        "limit=99999",
        "limit=x",
        "limit=1&limit=2",
        "limit=5&after=1",
        "raw=true",
        "search=hi",
        "before=3",
        "name=admin",
        "name=%00",
        "x=1",
        "&",
        "%",
    ]
) | TEXT.map(lambda text: f"name={quote(text)}")
NAMED_VALUES = [
    (
        "content-type",
        [
            "application/json",
            "application/json; charset=utf-8",
            "APPLICATION/JSON",
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
            "application/json;",
            " application/json",
            "application/problem+json",
        ],
    ),
    ("idempotency-key", ["k1", "k2", "", "\u00e9", "x" * 129]),
    (
        "authorization",
        ["Bearer TOKEN", "bearer TOKEN", "Bearer open-sesame", "Bearer wrong", "Bearer", "Basic eDp5", ""],
    ),
    ("accept", ["*/*", "application/x-ndjson", "Application/X-NDJSON", "application/json"]),
    ("cookie", ["chatkit_8000=x", "a=b"]),
    ("origin", ["https://chat.example", "http://evil.example", "null", "http://127.0.0.1"]),
    ("x-forwarded-for", ["127.0.0.1", "192.0.2.1", "192.0.2.1, 10.0.0.1", "x"]),
    ("x-forwarded-host", ["chat.example"]),
    ("remote-user", ["cat", "", "admin"]),
    ("expect", ["100-continue"]),
    ("content-encoding", ["gzip"]),
    ("access-control-request-method", ["POST"]),
    ("user-agent", ["curl/8"]),
    ("x-other", ["1"]),
]
OTHERS = st.lists(
    st.one_of([st.tuples(st.just(name), st.sampled_from(values)) for name, values in NAMED_VALUES]), max_size=4
)
HOSTS = st.sampled_from(
    ["127.0.0.1", "127.0.0.1", "localhost:8000", "[::1]:8000", "chat.example", "evil.example", "a b", "", "\u00e9"]
)
BODIES = (
    st.sampled_from(
        [
            b"",
            b"hi",
            b"hi @ann",
            b"\xff",
            b"{}",
            b"[]",
            b"null",
            b'{"body":"hi"}',
            b'{"body":"hi","key":"k1"}',
            b'{"body":"no","key":"k1"}',
            b'{"body":1}',
            b'{"body":"hi","data":{"n":[1]}}',
            b'{"data":1}',
            b'{"body":"x","of":1}',
            b'{"body":"x","of":1,"act":"edit"}',
            b'{"body":"x","of":99}',
            b'{"act":"pin","of":1}',
            b'{"body":"+1","of":1,"act":"react"}',
            b'{"body":"\\ud800"}',
            b'{"body":"hi","key":""}',
            b'{"body":"hi",',
            b"x" * 65_537,
            b"[" * 5_000,
        ]
    )
    | TEXT.map(str.encode)
    | TEXT.map(lambda text: msgspec.json.encode({"body": text}))
)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    body = draw(BODIES)
    headers = [("host", draw(HOSTS)), *draw(OTHERS)]
    length = draw(st.sampled_from(["right", "right", "right", "missing", "too long", "twice"]))
    if length == "too long":
        headers.append(("content-length", str(MAX_REQUEST_BYTES + 1)))
    elif length != "missing":
        headers += [("content-length", str(len(body)))] * (2 if length == "twice" else 1)
    return Call(
        draw(st.sampled_from(["POST", "POST", "POST", "GET", "GET", "HEAD", "PUT", "OPTIONS", "DELETE"])),
        draw(PATHS),
        draw(QUERIES),
        tuple(headers),
        body,
        draw(st.sampled_from(["127.0.0.1", "127.0.0.1", "192.0.2.9", "10.0.0.1", "", None])),
        draw(st.integers(1, 3)),
        is_cut=draw(st.sampled_from([False, False, False, True])),
    )


def test_any_requests_have_the_same_answers(pair: Pair) -> None:
    @settings(max_examples=40)
    @given(st.lists(calls(), min_size=1, max_size=6))
    def check(sequence: list[Call]) -> None:
        for call in sequence:
            pair.ask(call)

    check()


def plain(*headers: tuple[str, str], host: str = "127.0.0.1", **parts: Any) -> Call:
    """Return a plain request: `POST`, with the length of its body, or another one."""
    call = Call(**parts)
    length = [("content-length", str(len(call.body)))] if call.method == "POST" else []
    return msgspec.structs.replace(call, headers=(("host", host), *length, *headers))


def test_plain_requests_have_the_same_answers_on_the_short_path(pair: Pair) -> None:
    @settings(max_examples=15)
    @given(BODIES, st.sampled_from([(), (JSON,)]), st.sampled_from(["", "name=bob", "name=ann"]), st.integers(1, 3))
    @example(b'{"body":"hi","key":"k1"}', (JSON,), "", 1)
    def check(body: bytes, headers: tuple[tuple[str, str], ...], query: str, n_parts: int) -> None:
        for fields in (headers, (*headers, ("authorization", "Bearer TOKEN"))):
            assert pair.takes_short_path(plain(*fields, body=body, query=query, n_parts=n_parts))
            for limit in ("", "limit=1", "limit=50", "limit=1001"):
                assert pair.takes_short_path(plain(*fields, method="GET", query=limit, body=b""))

    check()


@pytest.mark.parametrize(
    "call",
    [
        plain(("origin", "http://127.0.0.1")),
        plain(("expect", "100-continue")),
        plain(("cookie", "a=b")),
        plain(("user-agent", "a"), ("user-agent", "b")),
        plain(query="name=a&name=b"),
        plain(query="token=x"),
        plain(path="/rooms/ops/messages/"),
        plain(host="a b"),
        plain(("content-type", "application/problem+json")),
        plain(method="HEAD"),
        plain(method="GET", query="after=1"),
        plain(("accept", "application/x-ndjson"), method="GET"),
        Call(),  # a body of unknown length
    ],
)
def test_what_is_unusual_goes_to_the_routes(open_pair: Pair, call: Call) -> None:
    assert not open_pair.takes_short_path(call)


@pytest.mark.parametrize("call", [plain(JSON, body=b'{"body":"hi"}'), plain(method="GET", query="limit=5", body=b"")])
def test_the_short_path_saves_three_hundred_calls_a_request(open_pair: Pair, call: Call) -> None:
    for _ in range(3):  # what is kept for the next request is known then
        open_pair.ask(call)
    short, long = open_pair.n_calls(call)
    assert short < long - 10 * 300


class Changed:
    """A room of a store that a server and another process use."""

    def __init__(self, server: Server, other: Backend) -> None:
        self.server = server
        self.own: Backend = server.app.state.admission.hub._backend
        self.other = other

    async def change(self, kind: str) -> None:
        backend = self.other if kind.startswith("other's ") else self.own
        match kind.removeprefix("other's "):
            case "publish":
                await backend.append([Draft("ops", "ann", "hi")])
            case "edit":
                await backend.append([Draft("ops", "ann", "better", of=2, act=Act.EDIT)])
            case "redact":
                await backend.redact("ops", (await backend.read("ops")).head.last)
            case "trim":
                await backend.trim("ops", keep=3)
            case "delete":
                await backend.delete_room("ops")
            case "rename":
                await backend.rename_room("ops", "dev")

    async def check(self) -> None:
        """Read the newest page from the routes, and twice by the short path: the second time, it is known."""
        call = plain(method="GET", query="limit=5", body=b"")
        expected = await self.server.answer(plain(("x-other", "1"), method="GET", query="limit=5", body=b""))
        assert [await self.server.answer(call) for _ in range(2)] == [expected] * 2


CHANGES = [
    *(kinds := ["publish", "edit", "redact", "trim", "delete", "rename"]),
    *(f"other's {kind}" for kind in kinds),
]


@settings(max_examples=10)
@given(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=12))
@example(CHANGES)
def test_a_known_page_is_never_older_than_the_store(changes: list[str]) -> None:
    async def test(folder: str) -> None:
        url = f"sqlite:///{folder}/rooms.db"
        async with (
            open_app(Settings(backend=url, rate_limit=0)) as app,
            open_backend(url) as other,
        ):
            room = Changed(Server(app, ""), other)
            await other.append([Draft("ops", "ann", "hi")] * 4)
            await room.check()
            for kind in changes:
                with suppress(ChatkitError):
                    await room.change(kind)
                await room.check()

    with TemporaryDirectory() as folder:
        asyncio.run(test(folder))
