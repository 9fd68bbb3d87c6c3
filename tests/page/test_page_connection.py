"""The page, while its server or its store is away, and on servers with other settings."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import stores
from page_server import publish, stored
from page_window import OpenWindow, Window, windows
from playwright.sync_api import Browser, Route, expect
from serving import ServerProcess, serve

from chatkit.backends import open_backend
from chatkit.bench.local.redis import RedisServer
from chatkit.core.model import Draft
from chatkit.pytest_plugin.relay import Relay

pytest_plugins = ["page_fixtures"]


def test_no_message_is_lost_or_repeated_when_the_server_is_killed(browser: Browser, own_server: ServerProcess) -> None:
    with windows(browser, own_server.url) as open_window:
        ann, bob = open_window("ann").join("ops"), open_window("bob").join("ops")
        ann.send("before")
        bob.expect_texts(["before"])
        burst = [f"in the fall {number}" for number in range(20)]
        for text in burst:  # when the server dies, some are acknowledged, some stored, others neither
            ann.send(text)
        own_server.kill9()
        expect(ann.page.locator("#link-word")).not_to_have_text("Connected")
        ann.send("while it was away")
        expect(ann.page.locator(".pending .text").last).to_have_text("while it was away")
        expect(ann.page.locator("#banner-text")).to_contain_text("kept and will be sent")
        own_server.start()
        everything = ["before", *burst, "while it was away"]
        ann.expect_texts(everything)
        bob.expect_texts(everything)
        bob.send("and on we go")
        ann.expect_texts([*everything, "and on we go"])
        assert stored(own_server, "ops") == [*everything, "and on we go"]
        assert ann.seqs() == bob.seqs() == list(range(1, 24))


def test_the_room_is_joined_while_the_modules_are_loaded(server: ServerProcess, open_window: OpenWindow) -> None:
    publish(server, "early", "first")
    window = open_window("ann")
    sent: list[str] = []
    held: list[Route] = []
    window.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    window.page.route("**/page.js", lambda route: held.append(route))  # noqa: PLW0108 - it takes no built-in method
    with window.page.expect_request("**/page.js"), window.page.expect_websocket() as opened:
        window.page.goto(f"{server.url}/#early", wait_until="commit")
    window.until("() => window.chatkitEarly.frames.some((frame) => frame.includes('first'))")
    held[0].continue_()
    window.await_connection().expect_texts(["first"])
    window.send("second")
    window.expect_texts(["first", "second"])
    commands = [json.loads(frame) for frame in sent]
    assert [command["ref"] for command in commands if command["op"] == "join"] == [0]
    assert not opened.value.is_closed()


def test_nobody_is_connected_early_who_has_to_choose_a_name(server: ServerProcess, open_window: OpenWindow) -> None:
    publish(server, "early", "first")
    visitor = open_window().open("/#early")
    assert visitor.value("() => 'chatkitEarly' in window && window.chatkitEarly !== null") is False
    expect(visitor.page.locator("#name-title")).to_have_text("Welcome")


def test_a_dead_connection_is_detected_and_resumed(browser: Browser, own_server: ServerProcess) -> None:
    relay = Relay(own_server.port)
    with relay.running(), windows(browser, relay.url) as open_window:
        ann = open_window("ann")
        ann.page.clock.install()
        ann.open("/#ops").await_connection()
        publish(own_server, "ops", "before")
        ann.expect_texts(["before"])
        relay.cut()
        publish(own_server, "ops", "after")
        ann.page.clock.run_for(16_000)  # no frames; then the page sends a ping
        ann.page.clock.run_for(11_000)  # the ping is not answered
        ann.page.clock.run_for(2_000)  # the back-off before it reconnects
        ann.expect_texts(["before", "after"])


def test_an_idle_connection_stays_open(browser: Browser, own_server: ServerProcess) -> None:
    with windows(browser, own_server.url) as open_window:
        ann = open_window("ann")
        ann.page.clock.install()
        ann.open("/#ops").await_connection()
        opened: list[str] = []
        ann.page.on("websocket", lambda socket: opened.append(socket.url))
        for number in range(1, 6):
            ann.page.clock.run_for(16_000)
            publish(own_server, "ops", str(number))  # arrives after the answer to the ping
            ann.expect_texts([str(each) for each in range(1, number + 1)])
        assert opened == []


def test_the_page_works_below_a_prefix_with_separate_rooms(browser: Browser, tmp_path: Path) -> None:
    with (
        serve(tmp_path / "rooms.db", "--path-prefix", "/chat") as server,
        windows(browser, f"{server.url}/chat") as open_window,
    ):
        ann = open_window("ann").open("/#ops").await_connection()
        ann.send("below")
        ann.expect_texts(["below"])
        assert ann.value("window.location.pathname") == "/chat/"
        kept = ann.value("Object.keys(localStorage)")
        assert "chatkit:/chat/:room.ops" in kept
        assert not [name for name in kept if name.startswith("chatkit.room")]


def test_an_unavailable_store_is_shown_and_unsent_messages_are_kept(browser: Browser, tmp_path: Path) -> None:
    with (
        RedisServer(stores.UNSYNCED) as store,
        serve(store.url, folder=tmp_path) as one,
        serve(store.url, folder=tmp_path) as two,
        windows(browser, one.url) as open_here,
        windows(browser, two.url) as open_there,
    ):
        ann, bob = open_here("ann").join("ops"), open_there("bob").join("ops")
        ann.send("before")
        bob.expect_texts(["before"])
        store.kill()
        for window in (ann, bob):
            expect(window.page.locator("#link-word")).to_have_text("Store unavailable")
            expect(window.page.locator("#banner-text")).to_contain_text("The server reports: the store is ")
        ann.send("while it was away")
        expect(ann.page.locator(".pending .text").last).to_have_text("while it was away")
        expect(ann.page.locator("#banner-text")).to_contain_text("kept and will be sent")
        store.start()
        for window in (ann, bob):
            window.expect_texts(["before", "while it was away"])
            expect(window.page.locator("#link-word")).to_have_text("Connected")
            expect(window.page.locator("#banner")).to_be_hidden()


def test_an_unsent_message_survives_closing_its_tab(browser: Browser, own_server: ServerProcess) -> None:
    with windows(browser, own_server.url) as open_window:
        ann = open_window("ann").join("ops")
        own_server.kill9()
        ann.send("sent to no server")
        expect(ann.page.locator(".pending .text")).to_have_text("sent to no server")
        ann.page.locator("#message-box").fill("half a thou")
        ann.page.close()
        own_server.start()
        ann.reopen("/#ops").await_connection()
        ann.expect_texts(["sent to no server"])
        expect(ann.page.locator("#message-box")).to_have_value("half a thou")
        assert stored(own_server, "ops") == ["sent to no server"]


def test_a_new_epoch_is_shown_and_the_room_continues(browser: Browser, tmp_path: Path) -> None:
    with serve("memory://", folder=tmp_path) as server, windows(browser, server.url) as open_window:
        ann = open_window("ann").join("ops")
        for number in range(3):
            ann.send(f"old {number}")
        ann.expect_texts(["old 0", "old 1", "old 2"])
        server.kill9()
        server.start()
        publish(server, "ops", "new")
        expect(ann.page.locator(".gap")).to_have_text(
            "This room was reset. The messages above are no longer on the server."
        )
        ann.expect_texts(["old 0", "old 1", "old 2", "new"])
        ann.send("newer")
        ann.expect_texts(["old 0", "old 1", "old 2", "new", "newer"])


def test_messages_that_were_trimmed_while_offline_are_shown_as_a_gap(
    browser: Browser, own_server: ServerProcess
) -> None:
    with windows(browser, own_server.url) as open_window:
        ann = open_window("ann").join("ops")
        ann.send("here")
        ann.expect_texts(["here"])
        own_server.kill9()
        with ThreadPoolExecutor() as beside:  # Playwright's event loop runs in this thread
            beside.submit(asyncio.run, grow_and_trim(own_server.store)).result()
        own_server.start()
        expect(ann.page.locator(".gap")).to_have_text("Messages 2\N{EN DASH}36 are no longer kept.")
        assert ann.seqs() == [1, *range(37, 42)]


async def redact(store: str, room: str, seq: int) -> None:
    async with open_backend(store) as backend:
        await backend.redact(room, seq)


async def grow_and_trim(store: str) -> None:
    async with open_backend(store) as backend:
        await backend.append([Draft.new("ops", f"unseen {number}") for number in range(40)])
        await backend.trim(keep=5)


def test_rate_limited_messages_are_each_stored_once(browser: Browser, tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", "--rate-limit", "1") as server, windows(browser, server.url) as open_window:
        ann = open_window("ann").join("ops")
        texts = [f"line {number}" for number in range(13)]  # the burst is ten messages
        for text in texts:
            ann.send(text)
        ann.expect_texts(texts)
        assert stored(server, "ops") == texts


def test_a_refused_message_stays_with_its_reason(browser: Browser, tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db") as server, windows(browser, server.url) as open_window:
        ann = open_window("ann").join("ops")
        # An invalid key, which the page itself never creates, makes the server refuse the message.
        ann.value(
            """() => localStorage.setItem("chatkit.outbox.k1", JSON.stringify(
              {key: "\\u00e9", room: "ops", body: "with a bad key", time: new Date().toISOString()}))"""
        )
        ann.reopen("/#ops").await_connection()
        expect(ann.page.locator(".foot.failed .note")).to_contain_text("Not sent: a key is")
        ann.send("other messages are not delayed")
        expect(ann.page.locator(".message[data-seq] .text")).to_have_text(["other messages are not delayed"])
        ann.page.get_by_role("button", name="Try again").click()
        expect(ann.page.locator(".foot.failed")).to_have_count(1)
        ann.page.get_by_role("button", name="Discard").click()
        ann.expect_texts(["other messages are not delayed"])


def test_messages_redacted_while_offline_are_marked(browser: Browser, own_server: ServerProcess) -> None:
    with windows(browser, own_server.url) as open_window:
        ann = open_window("ann").join("ops")
        for text in ("one", "two", "three"):
            ann.send(text)
        ann.expect_texts(["one", "two", "three"])
        own_server.kill9()
        expect(ann.page.locator("#link-word")).not_to_have_text("Connected")
        with ThreadPoolExecutor() as beside:  # Playwright's event loop runs in this thread
            beside.submit(asyncio.run, redact(own_server.store, "ops", 2)).result()
        own_server.start()
        ann.expect_texts(["one", "This message was removed.", "three"])


def test_a_server_with_a_secret_asks_for_the_token(browser: Browser, tmp_path: Path) -> None:
    secret = "open sesame, 8+"
    with serve(tmp_path / "rooms.db", "--secret", secret) as server, windows(browser, server.url) as open_window:
        # Without the check of the console: Chromium reports each 401 there.
        ann = Window(browser.new_context(), server.url, "ann")
        ann.open("/#ops")
        expect(ann.page.locator("#token-dialog")).to_be_visible()
        ann.page.locator("#token-cancel").click()
        expect(ann.page.locator("#banner-text")).to_have_text("This server needs a token.")
        ann.page.get_by_role("button", name="Sign in").click()
        ann.page.locator("#token-box").fill(secret)
        ann.page.locator("#token-box").press("Enter")
        ann.await_connection()
        assert ann.page.url == f"{server.url}/#ops"
        ann.send("admitted")
        ann.expect_texts(["admitted"])
        ann.reopen("/#ops").await_connection()
        ann.page.locator("#me").click()
        ann.page.get_by_role("button", name="Sign out").click()
        expect(ann.page.locator("#token-dialog")).to_be_visible()
        ann.context.close()
        bob = open_window("bob").open(f"/?token={quote(secret)}#ops").await_connection()
        bob.expect_texts(["admitted"])
        assert "token" not in bob.page.url
