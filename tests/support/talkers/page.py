"""A talking person at the page, in Chromium: uses the keyboard, and reads the messages that the page shows."""

import asyncio
from typing import Any

from page_window import CHROMIUM_ARGS
from playwright.async_api import Locator, Page, async_playwright
from playwright.async_api import TimeoutError as NotShown

from chatkit.core.message_state import Act
from chatkit.core.model import Message
from chatkit.errors import BadReference
from talkers.known import Action
from talkers.talker import ROOM, Outcome, Talker

PATIENCE_MS = 5_000
SETTLE_MS = 200_000
KEYS = {None: "r", Act.EDIT: "e", Act.REACT: "+", Act.UNREACT: "+", Act.PIN: "p", Act.UNPIN: "p", Act.REDACT: "Delete"}
SEARCHES = {"👍": "thumbsup", "🎉": "tada", "❤️": "heart", ":ok:": "fire", ":ship:": "rocket"}
READ = """() => [...document.querySelectorAll(".message[data-seq]")].map((message) => {
  const text = message.querySelector(".text").cloneNode(true);
  text.querySelector(".edited")?.remove();
  return {
    seq: Number(message.dataset.seq),
    sender: message.querySelector(".head .sender").textContent,
    text: text.textContent.trim(),
    edited: message.querySelector(".edited") !== null,
    pinned: message.querySelector(".mark-pinned") !== null,
    redacted: message.classList.contains("redacted"),
    reactions: [...message.querySelectorAll(".reaction")].map((chip) => [chip.ariaLabel.split(" ")[0], chip.title]),
    parent: message.querySelector(".parent .excerpt")?.textContent.trim() ?? null,
  };
})"""


class PageTalker(Talker):
    """A person at the server's page."""

    kind = "page"
    _page: Page

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        self._shown: list[dict[str, Any]] = []
        self._problems: list[str] = []
        playwright = await self._stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium-headless-shell", args=CHROMIUM_ARGS
        )
        self._stack.push_async_callback(browser.close)
        context = await browser.new_context()
        name = f"localStorage.setItem('chatkit.name', '{self.name}')"
        await context.add_init_script(f"if (location.protocol === 'http:') {name}")  # a blank page has no storage
        self._page = await context.new_page()
        self._page.set_default_timeout(PATIENCE_MS)
        self._page.on("pageerror", lambda error: self._on_error(str(error)))
        await self._open()

    def _on_error(self, error: str) -> None:
        if "dynamically imported module" not in error:  # the server is being started again
            self._problems.append(error)

    async def _open(self) -> None:
        """Open the room, as often as the server that is being started again requires."""
        while True:
            try:
                await self._page.goto(f"{self._place.url}/#{ROOM}")
                await self._page.locator(".message[data-seq]").last.wait_for()
            except Exception as error:
                self.n_unavailable += 1
                if not _is_away(error):
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def _act(self, action: Action) -> None:
        try:
            await self._use_keyboard(action)
        except NotShown:  # the message is not in the window, or the action is not offered
            await self._page.keyboard.press("Escape")
            raise BadReference(f"#{action.seq}") from None

    async def _use_keyboard(self, action: Action) -> None:
        if action.act is None and not action.seq:
            return await self._send(action.text)
        message = self._page.locator(f".message[data-seq='{action.seq}']")
        if not await message.count() or "redacted" in (await message.get_attribute("class") or ""):
            raise BadReference(f"#{action.seq}")
        if action.act is Act.REDACT and "own" not in (await message.get_attribute("class") or "").split():
            raise BadReference("another person's message")
        if action.act is Act.EDIT and "own" not in (await message.get_attribute("class") or "").split():
            raise BadReference("another person's message")
        return await self._do(action, message)

    async def _do(self, action: Action, message: Locator) -> None:
        chips = message.locator(".reaction[aria-pressed=true]")
        if action.act is Act.UNREACT and await chips.count():
            return await chips.first.click()
        await message.focus()
        await self._page.keyboard.press(KEYS[action.act])
        match action.act:
            case None | Act.EDIT:
                await self._page.locator("#context").wait_for()
                await self._send(action.text)
                await self._page.locator("#context").wait_for(state="hidden")
            case Act.REACT | Act.UNREACT:
                await self._page.locator("#picker-box").wait_for()
                await self._page.keyboard.type(SEARCHES.get(action.text, "fire"))
                await self._page.keyboard.press("Enter")
            case Act.REDACT:
                await self._redact()
        return None

    async def _redact(self) -> None:
        """Confirm, as often as the server that is being started again requires."""
        dialog, confirm = self._page.locator("#moderation-dialog"), self._page.locator("#moderation-confirm")
        await dialog.wait_for()
        while await dialog.is_visible():
            if await confirm.is_enabled():
                await confirm.click()
            await asyncio.sleep(0.3)

    async def _send(self, text: str) -> None:
        await self._page.locator("#message-box").fill(text)
        await self._page.locator("#message-box").press("Enter")

    async def _go_and_return(self, tasks: asyncio.TaskGroup) -> None:
        """Open another site, another room, or an old message, and come back."""
        place = self._chance.choice(
            ["about:blank", f"{self._place.url}/#other", f"{self._place.url}/#{ROOM}/{self._known.last // 2 + 1}"]
        )
        try:
            await self._page.goto(place)
            await self._sleep_away()
        except Exception as error:
            if not _is_away(error):
                raise
        await self._open()

    async def _finish(self) -> None:
        done = f"{self.name} is done"
        while True:
            try:
                await self._send(done)
            except NotShown:
                await self._page.keyboard.press("Escape")
            else:
                break
        await self._page.locator(".message[data-seq]", has_text=done).first.wait_for(timeout=SETTLE_MS)

    async def _settle(self, last: int) -> None:
        for _ in range(3):  # gives up an edit, leaves the message, and goes to the newest ones
            await self._page.locator("body").press("Escape")
        await self._page.locator(f".message[data-seq='{last}']").wait_for(timeout=SETTLE_MS)
        before: list[dict[str, Any]] = []
        while before != self._shown or not before:  # the messages that replies refer to are read afterwards
            before = self._shown
            await asyncio.sleep(1)
            self._shown = await self._page.evaluate(READ)

    def check(self, outcome: Outcome) -> None:
        """The page shows the end of the log."""
        assert self._problems == [], self._problems
        messages = {message.seq: message for message in outcome.shown}
        wanted = [shown_of(message, messages) for message in outcome.shown][-len(self._shown) :]
        different = [pair for pair in zip(self._shown, wanted, strict=True) if pair[0] != pair[1]]
        assert self._shown, f"{self.name} shows nothing"
        assert not different, f"{self.name} shows something else: {different[:3]}"


def _is_away(error: Exception) -> bool:
    """Return whether the browser reports that a server did not answer."""
    return isinstance(error, NotShown) or "net::" in str(error)


def shown_of(message: Message, messages: dict[int, Message]) -> dict[str, Any]:
    """Return what the page shows of a message."""
    state, parent = message.state, messages.get(message.of or 0)
    return {
        "seq": message.seq,
        "sender": message.sender,
        "text": "This message was removed." if message.redacted else message.body,
        "edited": state is not None and state.edited is not None,
        "pinned": state is not None and state.is_pinned,
        "redacted": message.redacted,
        "reactions": [] if state is None else [[each.emoji, ", ".join(each.by)] for each in state.reactions],
        "parent": parent and ("This message was removed." if parent.redacted else parent.body),
    }
