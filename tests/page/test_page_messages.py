"""What people do with messages in the page: reply, edit, react, pin, remove; and what helps them to write and read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from page_layout import CONTRASTS, OVERFLOWING
from page_server import fill, publish, request
from page_window import OpenWindow, Window, windows
from playwright.sync_api import Browser, Locator, expect
from serving import ServerProcess, serve

pytest_plugins = ["page_fixtures"]

MARKDOWN = (
    "The **deploy** is *almost* done: https://example.org/1 and `code`, see #notes and @ann\n"
    "> a quote\n\n- one\n- two\n\n```python\nx = 1  # note\n```\n| a | b |\n|---|---|\n| 1 | 2 |"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve("memory://", "--rate-limit", "0", folder=tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture(scope="module")
def ann(browser: Browser, server: ServerProcess) -> Iterator[Window]:
    publish(server, "notes", "hi", "bob")
    with windows(browser, server.url) as open_window:
        window = open_window("ann")
        window.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield window


def message(window: Window, text: str) -> Locator:
    return window.page.locator(".message", has_text=text).last


def choose(window: Window, text: str, action: str) -> None:
    """Choose an action in the menu of a message."""
    message(window, text).hover()
    window.page.locator(".toolbar .more").click()
    window.page.get_by_role("menuitem", name=action).click()


def test_a_message_is_answered_and_the_answer_leads_to_it(ann: Window, server: ServerProcess) -> None:
    publish(server, "reply", "What is the *answer*?", "bob")
    for number in range(40):
        publish(server, "reply", f"filler {number}", "cat")
    ann.join("reply")
    ann.page.locator("#scroller").evaluate("(scroller) => { scroller.scrollTop = 0; }")
    message(ann, "What is the").hover()
    ann.page.get_by_role("button", name="Reply").click()
    expect(ann.page.locator("#context")).to_contain_text("Answering bob What is the answer?")
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator("#context")).to_be_hidden()
    choose(ann, "What is the", "Reply")
    ann.send("42")
    expect(ann.page.locator("#context")).to_be_hidden()
    parent = message(ann, "42").locator(".parent")
    expect(parent).to_contain_text("bob")
    (stored,) = [each for each in request(server, "GET", "/rooms/reply/messages")["messages"] if each["body"] == "42"]
    assert stored["of"] == 1
    parent.click()
    expect(ann.page.locator("[data-seq='1']")).to_be_in_viewport()
    expect(ann.page.locator("[data-seq='1']")).to_be_focused()


def test_the_message_before_the_window_is_shown_above_its_answer(ann: Window, server: ServerProcess) -> None:
    publish(server, "parents", "long ago", "bob")
    for number in range(70):
        publish(server, "parents", f"filler {number}", "cat")
    request(server, "POST", "/rooms/parents/messages", {"body": "late answer", "of": 1}, "cat")
    ann.join("parents")
    expect(message(ann, "late answer").locator(".parent")).to_contain_text("bob")
    expect(message(ann, "late answer").locator(".parent")).to_contain_text("long ago")
    request(server, "DELETE", "/rooms/parents/messages/1", None, "bob")
    expect(message(ann, "late answer").locator(".parent")).to_contain_text("This message was removed.")


def test_messages_are_edited_from_the_keyboard(ann: Window, server: ServerProcess) -> None:
    ann.join("edit")
    ann.send("teh text")
    ann.expect_texts(["teh text"])
    box = ann.page.locator("#message-box")
    box.press("ArrowUp")
    expect(box).to_have_value("teh text")
    box.press("Escape")
    expect(box).to_have_value("")
    box.press("ArrowUp")
    box.fill("the text")
    box.press("Enter")
    ann.expect_texts(["the text (edited)"])
    expect(ann.page.locator(".edited")).to_have_attribute("title", re.compile("^Edited .*20"))
    expect(box).to_have_value("")
    assert [each["body"] for each in request(server, "GET", "/rooms/edit/messages")["messages"]] == ["the text"]


def test_the_keyboard_moves_between_messages_and_acts_on_them(ann: Window, server: ServerProcess) -> None:
    publish(server, "keys", "one", "bob")
    ann.join("keys").expect_texts(["one"])
    for text in ("two", "three"):  # the focus enters at the newest message, not at the one that was drawn first
        publish(server, "keys", text, "bob")
    ann.expect_texts(["one", "two", "three"])
    keyboard = ann.page.keyboard
    ann.page.locator("#message-box").press("Shift+Tab")
    expect(message(ann, "three")).to_be_focused()
    keyboard.press("k")
    keyboard.press("ArrowUp")
    expect(message(ann, "one")).to_be_focused()
    expect(message(ann, "one")).to_have_attribute("aria-label", re.compile("^bob, .*: one$"))
    keyboard.press("+")
    expect(ann.page.locator("#picker-box")).to_be_focused()
    keyboard.type("rocket")
    keyboard.press("Enter")
    chip = message(ann, "one").locator(".reaction")
    expect(chip).to_have_text("🚀 1")
    expect(chip).to_have_attribute("aria-pressed", "true")
    request(server, "PUT", "/rooms/keys/messages/1/reactions/%F0%9F%9A%80", None, "bob")
    expect(chip).to_have_text("🚀 2")
    expect(message(ann, "one")).to_be_focused()  # although it was drawn again
    keyboard.press("p")
    expect(message(ann, "one").locator(".mark-pinned")).to_have_count(1)
    keyboard.press("l")
    expect(ann.page.locator("#notice")).to_have_text("The link was copied.")
    assert ann.value("navigator.clipboard.readText()") == f"{server.url}/#keys/1"
    chip.click()
    expect(chip).to_have_text("🚀 1")
    expect(chip).to_have_attribute("aria-pressed", "false")
    chip.focus()
    keyboard.press("r")  # Shift+Tab leads to the last part of a message
    expect(ann.page.locator("#context")).to_contain_text("Answering bob one")
    keyboard.press("Escape")
    choose(ann, "one", "Who reacted…")
    expect(ann.page.locator("#reactions-list")).to_have_text("🚀bob")
    keyboard.press("Escape")
    message(ann, "two").focus()
    keyboard.press("r")
    expect(ann.page.locator("#context")).to_contain_text("Answering bob two")
    keyboard.press("Escape")
    keyboard.press("?")
    expect(ann.page.locator("#message-box")).to_have_value("?")
    ann.page.locator("#message-box").fill("/help")
    keyboard.press("Enter")
    expect(ann.page.locator("#help-dialog")).to_contain_text("Copy a link")
    assert ann.violations() == []
    keyboard.press("Escape")


def test_a_reaction_with_a_name_shows_the_emoji(ann: Window, server: ServerProcess) -> None:
    publish(server, "named", "ahoy", "bob")
    for name in ("ship", "not_known"):
        request(server, "PUT", f"/rooms/named/messages/1/reactions/%3A{name}%3A", None, "bob")
    ann.join("named")
    chips = message(ann, "ahoy").locator(".reaction")
    expect(chips).to_have_text(["🚢 1", ":not_known: 1"])
    chips.first.click()
    expect(chips).to_have_text(["🚢 2", ":not_known: 1"])
    choose(ann, "ahoy", "Who reacted…")
    expect(ann.page.locator("#reactions-list li")).to_have_text(["🚢ann, bob", ":not_known:bob"])
    ann.page.keyboard.press("Escape")
    choose(ann, "ahoy", "🚢")  # among those that ann uses most
    expect(chips).to_have_text(["🚢 1", ":not_known: 1"])


def test_a_message_is_removed_after_a_question(ann: Window) -> None:
    ann.join("remove")
    ann.send("a mistake")
    ann.expect_texts(["a mistake"])
    message(ann, "a mistake").focus()
    ann.page.keyboard.press("Delete")
    expect(ann.page.locator("#moderation-dialog")).to_contain_text("a mistake")
    ann.page.locator("#moderation-confirm").click()
    ann.expect_texts(["This message was removed."])


def test_a_link_to_a_message_opens_it_with_its_surroundings(ann: Window, server: ServerProcess) -> None:
    for number in range(1, 201):
        publish(server, "linked", f"message {number}.", "bob")
    ann.open("/#linked/42").await_connection()
    expect(ann.page.locator(".revealed .text")).to_have_text("message 42.")
    expect(message(ann, "message 43.")).to_be_in_viewport()
    ann.open("/#linked/999")
    expect(ann.page.locator("#problem")).to_contain_text("Message 999 cannot be shown")


def test_words_are_completed_and_commands_are_no_messages(ann: Window, server: ServerProcess) -> None:
    publish(server, "writing", "hello", "bob")
    ann.join("writing").expect_texts(["hello"])
    box, options = ann.page.locator("#message-box"), ann.page.locator("#completion [role=option]")
    box.press_sequentially("@bo")
    expect(options).to_have_text(["@bob"])
    expect(box).to_have_attribute("aria-activedescendant", "completion-0")
    assert ann.violations() == []
    box.press("Tab")
    box.press_sequentially(":roc")
    expect(options.first).to_contain_text(":rocket:")
    box.press("Enter")
    box.press_sequentially(":tada: see #not")
    expect(options).to_have_text(["#notes"])
    box.press("Enter")
    expect(box).to_have_value("@bob 🚀 🎉 see #notes ")
    box.press("Enter")
    ann.expect_texts(["hello", "@bob 🚀 🎉 see #notes"])
    expect(ann.page.locator(".room-link")).to_have_attribute("href", "#notes")

    ann.send("/tpoic x")
    expect(ann.page.locator("#problem")).to_contain_text("There is no command /tpoic.")
    expect(box).to_have_value("/tpoic x")
    ann.send("/topic all about it")
    expect(ann.page.locator("#topic")).to_have_text("all about it")
    ann.send("/unknown")
    expect(ann.page.locator("#problem")).to_contain_text("There is no command /unknown.")
    ann.send("//topic is a command")
    expect(ann.page.locator("#problem")).to_be_empty()  # it belonged to another text
    ann.send("/me waves")
    ann.expect_texts(["hello", "@bob 🚀 🎉 see #notes", "/topic is a command", "ann waves"])
    ann.send("/search rocket")
    expect(ann.page.locator("#search-status")).to_have_text("Nothing found.")
    ann.page.keyboard.press("Escape")
    ann.send("/nick zoe")
    expect(ann.page.locator("#me-name")).to_have_text("zoe")
    ann.await_connection()
    ann.send("/nick ann")
    ann.await_connection()


def test_code_is_copied_as_it_was_written(ann: Window, server: ServerProcess) -> None:
    publish(server, "code", '```python\nif x:  # why\n    f("<b>")\n```', "bob")
    ann.join("code")
    expect(ann.page.locator(".fence .language")).to_have_text("python")
    ann.page.get_by_role("button", name="Copy the code").click()
    ann.until("async () => (await navigator.clipboard.readText()).startsWith('if')")
    assert ann.value("navigator.clipboard.readText()") == 'if x:  # why\n    f("<b>")'


def test_files_get_a_sentence(ann: Window) -> None:
    ann.join("files")
    ann.page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["x"], "x.png", { type: "image/png" }));
          const event = new DragEvent("drop", { dataTransfer: data, cancelable: true, bubbles: true });
          document.querySelector("#message-box").dispatchEvent(event);
        }"""
    )
    expect(ann.page.locator("#problem")).to_contain_text("Files and pictures cannot be sent yet.")


def test_new_messages_are_found_and_the_sender_of_a_long_run_stays_in_view(ann: Window, server: ServerProcess) -> None:
    ann.join("news")
    ann.send("before")
    ann.expect_texts(["before"])
    ann.open("/#elsewhere").await_connection()
    for number in range(60):
        publish(server, "news", f"line {number}.", "bob")
    expect(ann.page.locator("#joined-list .badge:visible")).to_have_text("60 new messages")
    ann.page.locator("#joined-list a", has_text="news").click()
    expect(ann.page.locator("#jump-up")).to_have_text("60 new messages")
    expect(ann.page.locator("#sticky")).to_have_text("bob")
    ann.page.locator("#jump-up").click()
    expect(ann.page.locator(".rule.new")).to_be_in_viewport()
    expect(ann.page.locator("#jump-up")).to_be_hidden()
    expect(ann.page.get_by_role("heading", name="Today")).to_have_count(1)


def test_no_message_is_hovered_while_the_wheel_turns(ann: Window, server: ServerProcess) -> None:
    fill(server, "wheel", 60)
    ann.join("wheel")
    box = message(ann, "message 59").bounding_box()
    assert box
    ann.page.mouse.move(box["x"] + 90, box["y"] + 9)
    expect(message(ann, "message 59").locator(".toolbar")).to_be_visible()
    under = """() => {
      const { x, y, width, height } = document.querySelector("#scroller").getBoundingClientRect();
      document.querySelector("#scroller").dispatchEvent(new WheelEvent("wheel"));
      return [0.02, 0.5, 0.98].map((at) => document.elementFromPoint(x + width / 2, y + height * at).id);
    }"""
    assert ann.value(under) == ["shield"] * 3
    expect(ann.page.locator("#shield")).to_be_hidden()
    expect(ann.page.locator(".message .toolbar")).to_be_visible()


def test_a_click_while_the_wheel_turns_reaches_what_is_below_the_mouse(ann: Window, server: ServerProcess) -> None:
    publish(server, "wheel-click", "ask @ann", "bob")
    ann.join("wheel-click")
    ann.page.locator(".mention").last.wait_for()
    ann.value(
        """() => {
          const { x, y, width, height } = [...document.querySelectorAll(".mention")].at(-1).getBoundingClientRect();
          const at = { bubbles: true, button: 0, clientX: x + width / 2, clientY: y + height / 2 };
          const scroller = document.querySelector("#scroller");
          scroller.dispatchEvent(new WheelEvent("wheel"));
          document.elementFromPoint(at.clientX, at.clientY).dispatchEvent(new PointerEvent("pointerdown", at));
          scroller.dispatchEvent(new MouseEvent("click", at)); // its button went up elsewhere
        }"""
    )
    expect(ann.page.locator("#message-box")).to_have_value("@ann ")


def test_a_waiting_message_can_be_discarded(browser: Browser, tmp_path: Path) -> None:
    with serve("memory://", folder=tmp_path) as server, windows(browser, server.url) as open_window:
        ann = open_window("ann").join("ops")
        server.kill9()
        expect(ann.page.locator("#link-word")).not_to_have_text("Connected")
        ann.send("not sent")
        ann.page.get_by_role("button", name="Discard").click()
        expect(ann.page.locator(".message")).to_have_count(0)


def test_a_long_press_opens_a_sheet(server: ServerProcess, open_window: OpenWindow) -> None:
    publish(server, "touch", "press me", "bob")
    ann = open_window("ann", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).join("touch")
    ann.expect_texts(["press me"])
    message(ann, "press me").tap()
    expect(ann.page.locator(".toolbar")).to_be_visible()
    place = message(ann, "press me").locator(".text").bounding_box()
    bar = ann.page.locator(".toolbar").bounding_box()
    assert place
    assert bar
    assert bar["y"] + bar["height"] <= place["y"], "the bar does not cover the text"
    touch = ann.context.new_cdp_session(ann.page)
    point = [{"x": place["x"] + 5, "y": place["y"] + 5}]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": point})
    expect(ann.page.locator(".message.pressed")).to_have_count(1)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(ann.page.locator("#menu")).to_be_visible()
    sheet = ann.page.locator("#menu").bounding_box()
    assert sheet
    assert (sheet["x"], sheet["width"], round(sheet["y"] + sheet["height"])) == (0, 360, 740)
    assert ann.violations() == []
    ann.page.get_by_role("menuitem", name="👍").click()
    expect(ann.page.locator(".reaction")).to_have_text("👍 1")
    ann.page.locator("#rooms-open").tap()
    ann.page.locator("#joined-list a").tap()  # the open room: the address stays
    ann.page.locator("#message-box").tap()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_every_kind_of_message_is_accessible(
    server: ServerProcess, shared_ann: Window, scheme: Literal["light", "dark"], width: int
) -> None:
    room = f"axe-{scheme}-{width}"
    publish(server, room, MARKDOWN, "bob", {"n": 1})
    publish(server, room, "/me waves", "bob")
    request(server, "POST", f"/rooms/{room}/messages", {"body": "an answer", "of": 1}, "cat")
    request(server, "PATCH", f"/rooms/{room}/messages/3", {"body": "a better answer"}, "cat")
    request(server, "PUT", f"/rooms/{room}/messages/1/reactions/%F0%9F%91%8D", None, "ann")
    request(server, "POST", f"/rooms/{room}/messages", {"body": "", "of": 1, "act": "pin"}, "cat")
    request(server, "DELETE", f"/rooms/{room}/messages/{publish(server, room, 'gone', 'cat')}", None, "cat")
    ann = shared_ann.looks(width=width, height=900, scheme=scheme).join(room)
    expect(ann.page.locator(".message")).to_have_count(4)
    expect(ann.page.locator(".reaction")).to_have_count(1)
    # The mention is in the line of the words around it.
    assert ann.value("() => document.querySelector('.mention.to-me').getBoundingClientRect().height") <= 25
    assert ann.value("() => getComputedStyle(document.querySelector('.mention.to-me')).display") == "inline-block"
    message(ann, "a better answer").hover()
    assert ann.violations() == []
    assert ann.value(OVERFLOWING) == []
    assert [(ratio, what) for ratio, what in ann.value(CONTRASTS) if ratio < 4.5] == []
    choose(ann, "a better answer", "Reply")
    assert ann.violations() == []
    choose(ann, "a better answer", "Add a reaction…")
    expect(ann.page.locator("#picker")).to_be_visible()
    assert ann.violations() == []
    ann.page.keyboard.press("Escape")
    expect(ann.page.locator("#picker")).to_be_hidden()


def test_a_first_visit_is_welcomed(open_window: OpenWindow) -> None:
    visitor = open_window().open("/")
    expect(visitor.page.locator("#name-title")).to_have_text("Welcome")
    expect(visitor.page.locator("#link-word")).to_have_text("Welcome")
    assert visitor.violations() == []
