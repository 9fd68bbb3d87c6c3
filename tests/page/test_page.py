"""The page in a real browser, on a real server."""

from urllib.parse import quote

import pytest
from page_layout import CONTRASTS, OVERFLOWING
from page_server import fill, publish, request
from page_window import OpenWindow, Window
from playwright.sync_api import expect
from serving import ServerProcess

pytest_plugins = ["page_fixtures"]

# Records in `writes` the seq of each position that a page stores.
COUNT_WRITES = """() => {
  window.writes = [];
  const set = Storage.prototype.setItem;
  Storage.prototype.setItem = function (name, text) {
    window.writes.push(text.split(":").at(-1));
    set.call(this, name, text);
  };
}"""
NARROW = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def test_two_windows_talk(shared_ann: Window, shared_bob: Window) -> None:
    ann, bob = shared_ann.join("talk"), shared_bob.join("talk")
    ann.send("hello bob")
    bob.expect_texts(["hello bob"])
    bob.send("hello ann\nhow are you?")
    for window in (ann, bob):
        window.expect_texts(["hello bob", "hello ann\nhow are you?"])
        expect(window.page.locator(".message .head .sender")).to_have_text(["ann", "bob"])
        expect(window.page.locator("#people-list .name")).to_have_text(["ann", "bob"])
    expect(ann.page.locator(".message.own .text")).to_have_text(["hello bob"])
    expect(ann.page.locator("#announcer")).to_have_text("bob: hello ann\nhow are you?")


def test_joins_leaves_and_typing_are_shown(open_window: OpenWindow) -> None:
    ann, bob = open_window("ann").join("presence"), open_window("bob").join("presence")
    expect(ann.page.locator("#people-count")).to_have_text("2")
    bob.page.locator("#message-box").press_sequentially("h")
    expect(ann.page.locator("#typing")).to_have_text("bob is typing…")
    bob.send("hi")
    expect(ann.page.locator("#typing")).to_have_text("")
    bob.page.locator("#leave").click()
    expect(bob.page).to_have_title("chatkit")
    expect(ann.page.locator("#people-list .name")).to_have_text(["ann"])


def test_scrolling_up_loads_history_and_keeps_the_position(server: ServerProcess, shared_ann: Window) -> None:
    fill(server, "long", 700)
    ann = shared_ann.join("long")
    expect(ann.page.locator(".message .text").last).to_have_text("message 700")
    # Scroll and measure in one task, before any history can arrive.
    oldest, seq, top = ann.value(
        """() => {
          window.drawn = [];
          const countMessages = ({ addedNodes }) => [...addedNodes].filter((line) => line.matches(".message")).length;
          new MutationObserver((changes) => window.drawn.push(changes.reduce((sum, it) => sum + countMessages(it), 0)))
            .observe(document.querySelector("#log"), { childList: true });
          const scroller = document.querySelector("#scroller");
          scroller.scrollTop = 300;
          const messages = [...document.querySelectorAll(".message")];
          const edge = scroller.getBoundingClientRect().top;
          const seen = messages.find((message) => message.getBoundingClientRect().top >= edge);
          const top = seen.getBoundingClientRect().top;
          window.movedPx = 0;
          const watch = () => {
            window.movedPx = Math.max(window.movedPx, Math.abs(seen.getBoundingClientRect().top - top));
            if (messages[0] === document.querySelector(".message")) requestAnimationFrame(watch);
          };
          requestAnimationFrame(watch);
          return [messages[0].dataset.seq, seen.dataset.seq, top];
        }"""
    )
    ann.until("oldest => Number(document.querySelector('.message').dataset.seq) < oldest", int(oldest))
    now = ann.value("seq => document.querySelector(`[data-seq='${seq}']`).getBoundingClientRect().top", seq)
    assert abs(now - top) <= 2
    assert ann.value("window.movedPx") <= 2, "not even while it says that older messages are loaded"

    while (above := ann.seqs()[0]) > 1:
        ann.value("() => { document.querySelector('#scroller').scrollTop = 100; }")
        ann.until("above => Number(document.querySelector('.message').dataset.seq) < above", above)
    expect(ann.page.locator("#log-top")).to_have_text("This is the beginning of #long.")
    ann.until("() => document.querySelectorAll('.message').length === 500")
    assert ann.seqs() == list(range(1, 501))
    drawn = ann.value("window.drawn")
    assert sum(drawn) >= int(oldest) - 1, "each of the older messages was drawn"
    assert max(drawn) <= 12, "a page of history is drawn in small steps, not at once"

    publish(server, "long", "while reading")
    expect(ann.page.locator("#jump")).to_have_text("1 new message")
    assert ann.seqs()[0] == 1
    ann.page.locator("#jump").click()
    expect(ann.page.locator(".message .text").last).to_have_text("while reading")
    seqs = ann.seqs()
    assert seqs == list(range(seqs[0], 702))
    expect(ann.page.locator("#jump")).to_be_hidden()


def test_a_busy_room_keeps_the_page_small(server: ServerProcess, shared_ann: Window) -> None:
    ann = shared_ann.join("busy")
    fill(server, "busy", 900)
    expect(ann.page.locator(".message .text").last).to_have_text("message 900")
    ann.until("() => document.querySelectorAll('.message').length === 500")
    assert ann.seqs() == list(range(401, 901))
    expect(ann.page.locator(".message").last).to_be_in_viewport()


def test_scrolling_down_loads_messages_up_to_the_end(server: ServerProcess, open_window: OpenWindow) -> None:
    fill(server, "down", 300)
    ann = open_window("ann").join("down")
    publish(server, "down", "find me not")
    ann.page.locator("#search-open").click()
    ann.page.locator("#search-box").fill("MESSAGE 20")
    expect(ann.page.locator("#search-list li")).to_have_count(11)  # 20, and 200 to 209
    ann.page.locator("#search-list button").last.click()
    expect(ann.page.locator(".revealed .text")).to_have_text("message 20")
    assert ann.seqs()[0] == 1
    assert ann.seqs()[-1] < 301
    while (newest := ann.seqs()[-1]) < 301:
        ann.value("() => { const box = document.querySelector('#scroller'); box.scrollTop = box.scrollHeight; }")
        ann.until("newest => Number([...document.querySelectorAll('.message')].at(-1).dataset.seq) > newest", newest)
    assert ann.seqs() == list(range(1, 302))
    publish(server, "down", "live again")
    expect(ann.page.locator(".message .text").last).to_have_text("live again")


def test_hostile_names_and_bodies_are_inert(server: ServerProcess, open_window: OpenWindow) -> None:
    name = "<img src=x onerror=alert(1)>"
    bodies = [
        "<script>alert(1)</script><img src=x onerror=alert(1)><b>bold</b>",
        "javascript:alert(1) http://example.org/x?<script>alert(1)</script>",
        "[x](javascript:alert(1)) `<i>code</i>` \u202egnp.exe\u202c",
        "\x1b]0;owned\x07\x1b[31mred\x1b[0m",
        "w" * 5_000,
        "Z" + "\u0335\u0322\u034b" * 500,
        "```html\n<iframe srcdoc='<script>alert(1)</script>'>\n```",
        "\u05e9\u05dc\u05d5\u05dd \u2067 hidden \u2069 {{7*7}} ${7*7}",
        "http://" + ")" * 60_000,
    ]
    for body in bodies:
        publish(server, "hostile", body, sender=name, data={"<b>": [body[:50]] * 3})
    for options in ({}, NARROW):
        ann = open_window("ann", **options).join("hostile")
        expect(ann.page.locator(".message")).to_have_count(len(bodies))
        assert ann.page.locator(".message .sender").first.inner_text() == name
        assert ann.page.locator("#log :is(img, script, iframe, b, i, [onerror])").count() == 0
        texts = ann.texts()
        assert texts[0] == bodies[0]
        assert "RLOgnp.exePDF" in texts[2]
        assert texts[3] == "^[]0;owned^G^[[31mred^[[0m"
        links = ann.page.eval_on_selector_all(".text a", "all => all.map((a) => [a.href, a.rel, a.target])")
        assert [link[0] for link in links] == ["http://example.org/x"]
        assert all("noopener" in rel and target == "_blank" for _, rel, target in links)
        ann.page.locator(".data summary").first.click()
        expect(ann.page.locator(".data pre").first).to_contain_text('"<b>"')
        assert ann.value(OVERFLOWING) == []


def test_a_redacted_message_is_marked(server: ServerProcess, shared_ann: Window, shared_bob: Window) -> None:
    seq = publish(server, "redact", "the password is hunter2")
    ann = shared_ann.join("redact")
    ann.expect_texts(["the password is hunter2"])
    request(server, "DELETE", f"/rooms/redact/messages/{seq}")
    ann.expect_texts(["This message was removed."])
    bob = shared_bob.join("redact")
    bob.expect_texts(["This message was removed."])


def test_the_address_names_the_room(server: ServerProcess, open_window: OpenWindow) -> None:
    publish(server, "日本語", "konnichiwa")
    ann = open_window("ann").join(quote("日本語"))
    ann.expect_texts(["konnichiwa"])
    expect(ann.page).to_have_title("#日本語 · chatkit")
    ann.page.locator("#room-box").fill("#second.room")
    ann.page.locator("#room-box").press("Enter")
    expect(ann.page.locator("#room-title")).to_have_text("#second.room")
    assert ann.page.url.endswith("/#second.room")
    ann.page.go_back()
    ann.expect_texts(["konnichiwa"])
    ann.page.locator("#room-box").fill("no spaces!")
    ann.page.locator("#room-box").press("Enter")
    expect(ann.page.locator("#room-problem")).to_contain_text("1 to 64 letters")
    expect(ann.page.locator("#room-make")).to_be_hidden()


def test_unread_messages_are_counted_between_visits(server: ServerProcess, open_window: OpenWindow) -> None:
    ann = open_window("ann").join("unread")
    publish(server, "unread", "one")
    ann.expect_texts(["one"])
    ann.page.goto(server.url + "/#elsewhere")
    expect(ann.page.locator("#room-title")).to_have_text("#elsewhere")
    publish(server, "unread", "two")
    expect(ann.page.locator("#joined-list .badge:visible")).to_have_text("1 new message")
    expect(ann.page).to_have_title("(1) #elsewhere · chatkit")
    publish(server, "unread", "three")
    ann.reopen("/#elsewhere").await_connection()
    expect(ann.page.locator("#joined-list .badge:visible")).to_have_text("2 new messages")
    ann.page.locator("#joined-list a", has_text="unread").click()
    ann.expect_texts(["one", "two", "three"])
    expect(ann.page.locator(".rule.new + .message .text")).to_have_text("two")
    expect(ann.page.locator("#joined-list .badge:visible")).to_have_count(0)


def test_two_tabs_with_different_positions_do_not_overwrite_each_other(
    server: ServerProcess, open_window: OpenWindow
) -> None:
    fill(server, "tabs", 60)
    ann = open_window("ann").join("tabs")
    behind = ann.page
    behind.locator("#scroller").focus()
    behind.keyboard.press("Home")
    expect(behind.locator("#jump")).to_be_visible()
    ahead = ann.context.new_page()
    ahead.goto(server.url + "/#tabs")
    expect(ahead.locator(".message .text").last).to_have_text("message 60")
    for page in (behind, ahead):
        page.evaluate(COUNT_WRITES)
    publish(server, "tabs", "message 61")
    expect(behind.locator("#jump-text")).to_have_text("1 new message")
    expect(ahead.locator(".message .text").last).to_have_text("message 61")
    ahead.wait_for_function("localStorage.getItem('chatkit.room.tabs').endsWith(':61')")
    for _ in range(5):  # a page that reacted would have done so by its next frames
        for page in (behind, ahead):
            page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
    assert (behind.evaluate("writes"), ahead.evaluate("writes")) == ([], ["61"])


def test_the_page_works_by_keyboard(open_window: OpenWindow) -> None:
    ann = open_window()
    ann.open("/")
    expect(ann.page.locator("#name-dialog")).to_be_visible()
    ann.page.keyboard.type("x" * 33)
    ann.page.keyboard.press("Enter")
    expect(ann.page.locator("#name-problem")).to_have_text("A name has 1 to 32 printable characters.")
    ann.page.locator("#name-box").fill("  ann ")
    ann.page.keyboard.press("Enter")
    expect(ann.page.locator("#me-name")).to_have_text("ann")
    ann.page.locator("#scroller").evaluate("() => document.activeElement.blur()")
    ann.page.keyboard.press("/")
    ann.page.keyboard.type("keys-b")
    ann.page.keyboard.press("Enter")
    expect(ann.page.locator("#message-box")).to_be_focused()
    ann.page.keyboard.press("Control+k")
    ann.page.keyboard.type("#keys-a")
    ann.page.keyboard.press("Enter")
    expect(ann.page.locator("#message-box")).to_be_focused()
    ann.page.keyboard.type("first")
    ann.page.keyboard.press("Shift+Enter")
    ann.page.keyboard.type("second / third")
    ann.page.keyboard.press("Enter")
    ann.expect_texts(["first\nsecond / third"])
    ann.page.keyboard.type("a draft")
    ann.page.keyboard.press("Alt+ArrowDown")
    expect(ann.page.locator("#room-title")).to_have_text("#keys-b")
    expect(ann.page.locator("#message-box")).to_have_value("")
    ann.page.keyboard.press("Alt+ArrowUp")
    expect(ann.page.locator("#room-title")).to_have_text("#keys-a")
    expect(ann.page.locator("#message-box")).to_have_value("a draft")


def test_escape_goes_to_the_newest_message(server: ServerProcess, shared_ann: Window) -> None:
    fill(server, "escape", 80)
    ann = shared_ann.join("escape")
    expect(ann.page.locator(".message .text").last).to_have_text("message 80")
    ann.value("() => { document.querySelector('#scroller').scrollTop -= 900; }")
    expect(ann.page.locator("#jump")).to_be_visible()
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator("#jump")).to_be_hidden()
    expect(ann.page.locator(".message").last).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_is_legible_and_fits(server: ServerProcess, open_window: OpenWindow, scheme: str, width: int) -> None:
    for sender in ("ann", "mara", "jonas", "cat", "deploy-bot", "W" * 32):
        publish(
            server,
            f"look-{scheme}-{width}",
            "see https://example.org and `code`\n```\nmore code\n```",
            sender,
            {"n": 1},
        )
    options = NARROW if width < 768 else {}
    ann = open_window("ann", **{**options, "viewport": {"width": width, "height": 700}}, color_scheme=scheme)
    ann.join(f"look-{scheme}-{width}")
    expect(ann.page.locator(".message")).to_have_count(6)
    assert ann.value(OVERFLOWING) == []
    assert [(ratio, what) for ratio, what in ann.value(CONTRASTS) if ratio < 4.5] == []
    if width < 768:
        expect(ann.page.locator("#room-box")).not_to_be_in_viewport()
        ann.page.locator("#rooms-open").click()
        expect(ann.page.locator("#room-box")).to_be_in_viewport()
        ann.page.keyboard.press("Escape")
        expect(ann.page.locator("#room-box")).not_to_be_in_viewport()
    ann.page.locator("#search-open").click()
    ann.page.locator("#search-box").fill("example")
    expect(ann.page.locator("#search-list li")).to_have_count(6)
    assert ann.value(OVERFLOWING) == []
    ann.open("/#no-messages-here").await_connection()
    expect(ann.page.locator("#quiet")).to_contain_text("chatkit join no-messages-here")
    assert ann.value(OVERFLOWING) == []


def test_the_chosen_appearance_is_kept(open_window: OpenWindow) -> None:
    ann = open_window("ann").join("theme")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = ann.value(ground)
    toggle = ann.page.locator("#theme")
    toggle.click()
    expect(toggle).to_have_attribute("aria-label", "Appearance: light")
    toggle.click()
    expect(toggle).to_have_attribute("aria-label", "Appearance: dark")
    dark = ann.value(ground)
    assert dark != light
    ann.reopen("/#theme").await_connection()
    assert ann.value(ground) == dark


def test_the_log_stays_at_its_end_while_a_text_grows_and_shrinks(server: ServerProcess, shared_ann: Window) -> None:
    fill(server, "growing", 60)
    ann = shared_ann.join("growing")
    expect(ann.page.locator(".message .text").last).to_have_text("message 60")
    box = ann.page.locator("#message-box")
    row = ann.value("() => document.querySelector('#message-box').offsetHeight")
    for text in ("line\n" * 12, "", "line\n" * 3, "line\n" * 12, "line"):
        box.fill(text)
        if "\n" in text:
            ann.until("row => document.querySelector('#message-box').offsetHeight > row", row)
        expect(ann.page.locator(".message").last).to_be_in_viewport(ratio=1)
        expect(ann.page.locator("#jump")).to_be_hidden()
    box.fill("")


def test_a_name_and_a_topic_that_are_cut_are_shown_in_full(server: ServerProcess, open_window: OpenWindow) -> None:
    room, topic = "a-room-with-a-long-name", "the topic is a long sentence " * 6
    publish(server, room, "hello")
    ann = open_window("ann", **NARROW).join(room)
    details, title = ann.page.locator("#details"), ann.page.locator("#room-title")
    title.tap()
    expect(details).to_have_text(f"#{room}")
    ann.send(f"/topic {topic}")
    button = ann.page.locator("#topic")
    expect(button).to_have_text(topic.strip())
    expect(details).to_be_hidden()  # it showed what was before
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(details).to_contain_text(topic.strip())
    assert ann.value(OVERFLOWING) == []
    assert ann.violations() == []
    ann.page.goto(f"{server.url}/#brief")
    expect(details).to_be_hidden()
    title.tap()  # all of it is in view
    expect(details).to_be_hidden()
