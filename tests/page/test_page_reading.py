"""Finding and reading on the page: links to messages, mentions, search, markers, notifications, and working offline."""

import json
from pathlib import Path

from page_server import fill, publish, request
from page_window import OpenWindow, windows
from playwright.sync_api import Browser, expect
from serving import ServerProcess, serve

pytest_plugins = ["page_fixtures"]

# A browser without a user interface allows no notifications.
RECORD_NOTIFICATIONS = """
  Object.defineProperty(Notification, "permission", { get: () => "granted" });
  window.shown = [];
  ServiceWorkerRegistration.prototype.showNotification = async (title, { body }) => {
    window.shown.push(`${title}: ${body}`);
  };
"""
RECORD_SOUNDS = """
  window.nSounds = 0;
  const Original = AudioContext;
  window.AudioContext = class extends Original {
    constructor() {
      super();
      window.nSounds += 1;
    }
  };
"""
EXAMPLE = Path(__file__).parents[2] / "examples/page.html"


def test_a_link_opens_a_message_with_those_around_it(open_window: OpenWindow, server: ServerProcess) -> None:
    fill(server, "linked", 300)
    ann = open_window("ann").open("/#linked/42").await_connection()
    expect(ann.page.locator(".revealed")).to_have_attribute("data-seq", "42")
    expect(ann.page.locator(".revealed")).to_be_in_viewport()
    assert {41, 43} <= set(ann.seqs())
    ann.page.locator("#jump").click()
    expect(ann.page.locator(".message[data-seq='300']")).to_be_in_viewport()
    assert ann.page.url == f"{server.url}/#linked"
    ann.page.goto(f"{server.url}/#linked/7")  # in the open page
    expect(ann.page.locator(".revealed")).to_have_attribute("data-seq", "7")
    ann.page.locator("#joined-list a").click()  # the open room
    expect(ann.page.locator(".message[data-seq='300']")).to_be_in_viewport()
    ann.page.goto(f"{server.url}/#linked/9999")
    expect(ann.page.locator("#problem")).to_contain_text("Message 9999 cannot be shown.")


def test_changes_do_not_count_as_unread(open_window: OpenWindow, server: ServerProcess) -> None:
    ann = open_window("ann").join("counted")
    ann.join("elsewhere")
    publish(server, "counted", "hello")
    for name in ("bob", "cat"):
        bob = open_window(name).join("counted")
        bob.page.locator(".message").first.hover()
        bob.page.keyboard.press("Escape")
    ann.page.evaluate("""async () => {
      const { connect } = await import("./client.js");
      const chat = connect({ name: "dan" });
      const room = chat.join("counted");
      while (!room.joined) await new Promise((done) => setTimeout(done, 10));
      await chat.react(room, 1, "👍");
      await chat.publish(room, "second");
    }""")
    expect(ann.page.locator("#joined-list li", has_text="counted").locator(".badge")).to_contain_text("2")


def test_mentions_are_marked_counted_and_listed(open_window: OpenWindow, server: ServerProcess) -> None:
    zoe = open_window("zoe").join("told")
    zoe.join("other")
    publish(server, "told", "hello")
    publish(server, "told", "can you look, @zoe?")
    row = zoe.page.locator("#joined-list li", has_text="told").locator(".badge")
    expect(row).to_have_class("badge for-me")
    expect(row).to_contain_text("2 new messages, one mentions you")
    expect(zoe.page).to_have_title("(2) #other · chatkit")
    zoe.until("() => document.querySelector('link[rel=icon]').href.startsWith('data:image/png')")
    zoe.page.locator("#mentions-open").click()
    found = zoe.page.locator("#search-list button")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("#told · robot")
    found.click()
    expect(zoe.page.locator(".revealed .text")).to_have_text("can you look, @zoe?")
    expect(zoe.page.locator("#mentions-count")).to_be_hidden()
    expect(zoe.page).to_have_title("#told · chatkit")
    zoe.until("() => !document.querySelector('link[rel=icon]').href.startsWith('data:')")


def test_a_search_over_all_rooms_opens_its_hits(open_window: OpenWindow, server: ServerProcess) -> None:
    for room in ("red", "blue"):
        publish(server, room, f"the **Walrus** of `{room}`")
    ann = open_window("ann").join("red")
    ann.page.locator("#search-open").click()
    ann.page.locator("#search-box").fill("walrus")
    expect(ann.page.locator("#search-list button")).to_have_count(1)
    ann.page.get_by_text("All rooms", exact=True).click()
    expect(ann.page.locator("#search-list button")).to_have_count(2)
    expect(ann.page.locator("#search-list mark")).to_have_text(["Walrus", "Walrus"])
    expect(ann.page.locator("#search-list .text")).to_have_text(["the Walrus of blue", "the Walrus of red"])
    ann.page.locator("#search-list button", has_text="of blue").click()
    expect(ann.page.locator("#room-title")).to_have_text("#blue")
    expect(ann.page.locator(".revealed .text")).to_have_text("the Walrus of blue")
    expect(ann.page.locator("#search-list button")).to_have_count(2)  # the results stay


def test_the_pinned_messages_of_the_open_room_are_listed(open_window: OpenWindow, server: ServerProcess) -> None:
    for room in ("board", "wall"):
        for number in (1, 2, 3):
            publish(server, room, f"**note {number}** of the {room}")
            request(server, "POST", f"/rooms/{room}/messages", {"body": "", "of": 2 * number - 1, "act": "pin"})
    request(server, "POST", "/rooms/board/messages", {"body": "", "of": 3, "act": "unpin"})
    ann = open_window("ann").join("board")
    ann.page.locator("#search-open").click()
    ann.page.get_by_text("Pinned", exact=True).click()
    found = ann.page.locator("#search-list .text")
    expect(found).to_have_text(["note 3 of the board", "note 1 of the board"])
    expect(ann.page.locator("#search-box")).to_be_hidden()
    found.last.click()
    expect(ann.page.locator(".revealed .text")).to_have_text("note 1 of the board")
    ann.page.goto(f"{server.url}/#wall")
    expect(found).to_have_text([f"note {number} of the wall" for number in (3, 2, 1)])
    ann.page.goto(f"{server.url}/#floor")
    expect(ann.page.locator("#search-status")).to_have_text("No message of this room is pinned.")


def test_a_message_is_announced_while_the_page_is_not_watched(open_window: OpenWindow, server: ServerProcess) -> None:
    ann = open_window("ann")
    ann.page.add_init_script(RECORD_NOTIFICATIONS)
    ann.join("loud").join("still")
    ann.page.goto(f"{server.url}/#quiet")
    ann.await_connection()
    ann.value("navigator.serviceWorker.ready.then(() => true)")
    ann.page.goto(f"{server.url}/#loud")
    ann.page.locator("#notify-open").click()
    ann.page.get_by_label("All messages").check()
    ann.page.locator("#notify-close").click()
    ann.page.goto(f"{server.url}/#quiet")
    expect(ann.page.locator("#room-title")).to_have_text("#quiet")
    for room, text in (("still", "nothing"), ("still", "psst @ann"), ("loud", "everything")):
        publish(server, room, text)
    ann.until("() => window.shown?.length === 2")
    assert sorted(ann.value("window.shown")) == ["robot in #loud: everything", "robot in #still: psst @ann"]


def test_a_sound_is_played_only_when_it_was_chosen(open_window: OpenWindow, server: ServerProcess) -> None:
    ann = open_window("ann")
    ann.page.add_init_script(RECORD_NOTIFICATIONS + RECORD_SOUNDS)
    ann.join("bells").join("silence")
    ann.value("navigator.serviceWorker.ready.then(() => true)")
    publish(server, "bells", "one for @ann")
    ann.until("() => window.shown.length === 1")
    assert ann.value("window.nSounds") == 0
    ann.page.locator("#notify-open").click()
    expect(ann.page.locator("#notify-sound")).not_to_be_checked()
    ann.page.locator("#notify-sound").check()
    ann.page.locator("#notify-close").click()
    ann.until("() => window.nSounds === 1")  # how it sounds
    publish(server, "bells", "another for @ann")
    ann.until("() => window.nSounds === 2")


def test_the_page_opens_without_a_server_and_keeps_no_answers(browser: Browser, tmp_path: Path) -> None:
    with (
        serve("memory://", "--path-prefix", "/chat", folder=tmp_path) as server,
        windows(browser, f"{server.url}/chat") as open_window,
    ):
        ann = open_window("ann").join("ops")
        ann.send("stored")
        ann.expect_texts(["stored"])
        scope = ann.value("navigator.serviceWorker.ready.then(({ scope }) => scope)")
        assert scope == f"{server.url}/chat/"
        ann.page.reload()  # by the service worker
        ann.await_connection()
        kept: list[str] = ann.value("""caches.open('chatkit /chat/').then((cache) => cache.keys())
          .then((all) => all.map(({ url }) => new URL(url).pathname))""")
        assert "/chat/" in kept
        assert all(path == "/chat/" or path.startswith("/chat/static/") for path in kept)
        server.kill9()
        ann.page.reload()
        expect(ann.page.locator("#room-title")).to_have_text("#ops")
        expect(ann.page.locator("#link-word")).to_have_text("Offline")
        server.start()
        ann.await_connection()


def test_the_page_can_be_installed(open_window: OpenWindow, server: ServerProcess) -> None:
    ann = open_window("ann").join("ops")
    session = ann.context.new_cdp_session(ann.page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert manifest["url"] == f"{server.url}/static/manifest.webmanifest"
    found = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {error["errorId"] for error in found} <= {"in-incognito"}  # as some browsers of the tests are
    icons = json.loads(manifest["data"])["icons"]
    for icon in icons:
        answer = ann.page.request.get(f"{server.url}/static/{icon['src']}")
        assert answer.headers["content-type"].startswith(icon["type"])


def test_the_example_page_uses_the_client(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(EXAMPLE.read_text())
    with (
        serve("memory://", "--page", str(tmp_path), folder=tmp_path) as server,
        windows(browser, server.url) as open_window,
    ):
        ann = open_window().open("/")
        publish(server, "ops", "hello")
        expect(ann.page.locator("li")).to_have_text(["robot: hello"])
        ann.page.locator("li").dblclick()
        expect(ann.page.locator("li")).to_have_text(["robot: hello 👍 1"])
        ann.page.locator("#text").fill("from the example")
        ann.page.locator("#text").press("Enter")
        expect(ann.page.locator("li")).to_have_text(["robot: hello 👍 1", "guest: from the example"])
