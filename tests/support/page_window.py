"""A browser window with the page: what a user sees and does there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote

from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect, sync_playwright

AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"

# Chromium itself reports these when a server cannot be reached, or refuses a call; all other problems are the page's.
SERVER_AWAY = ("net::ERR_", "WebSocket connection to", "error occurred when fetching the script")
REFUSED = ("the server responded with a status of 401", "the server responded with a status of 403")

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=15_000)  # two noisy cores


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium without a user interface until the block ends: it takes half the processor time."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One user's browser, with its own storage. `problems` lists the errors of the page so far."""

    def __init__(self, context: BrowserContext, server_url: str, name: str | None) -> None:
        self.problems: list[str] = []
        self.context = context
        self._server_url = server_url
        if name is not None:
            context.add_init_script(
                f"localStorage.getItem('chatkit.name') ?? localStorage.setItem('chatkit.name', '{name}')"
            )
        self.page = self._new_page()

    def _new_page(self) -> Page:
        page = self.context.new_page()
        page.on("console", lambda event: self._on_console(event.type, event.text))
        page.on("pageerror", lambda error: self._on_console("error", str(error)))
        page.on("dialog", self._asked)
        return page

    def _on_console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not any(sign in text for sign in SERVER_AWAY + REFUSED):
            self.problems.append(f"{kind}: {text}")

    def _asked(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str = "/") -> Self:
        """Open a path of the server."""
        self.page.goto(self._server_url + path)
        return self

    def reopen(self, path: str) -> Self:
        """Close the tab and open a new one in the same browser."""
        self.page.close()
        self.page = self._new_page()
        return self.open(path)

    def join(self, room: str) -> Self:
        """Open a room in the page, and wait until it is joined."""
        self.open(f"/#{room}")
        expect(self.page.locator("#room-title")).to_have_text(f"#{unquote(room)}")  # a page that was open shows another
        return self.await_connection()

    def await_connection(self) -> Self:
        """Wait until the page is connected and the room has a member."""
        expect(self.page.locator("#link-word")).to_have_text("Connected")
        expect(self.page.locator("#people-count")).not_to_have_text("0")
        return self

    def looks(self, *, width: int, height: int, scheme: Literal["light", "dark"]) -> Self:
        """Set the size of the window and the colours that its user prefers."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme=scheme)
        return self

    def send(self, text: str) -> None:
        """Write a message and send it."""
        self.page.locator("#message-box").fill(text)
        self.page.locator("#message-box").press("Enter")

    def texts(self) -> list[str]:
        """Return the texts of the messages in the log."""
        return self.page.locator(".message .text").all_inner_texts()

    def expect_texts(self, texts: list[str]) -> None:
        """Wait until the log shows exactly these messages, all of them stored."""
        expect(self.page.locator(".message .text")).to_have_text(texts)
        expect(self.page.locator(".pending")).to_have_count(0)

    def seqs(self) -> list[int]:
        """Return the seq of each message in the log, from top to bottom."""
        numbers: list[int] = self.page.eval_on_selector_all(
            ".message[data-seq]", "all => all.map(m => Number(m.dataset.seq))"
        )
        return numbers

    def until(self, expression: str, argument: object = None) -> None:
        """Wait until a JavaScript expression is true in the page."""
        self.page.wait_for_function(expression, arg=argument, timeout=15_000)

    def value(self, expression: str, argument: object = None) -> Any:
        """Return the value of a JavaScript expression in the page."""
        return self.page.evaluate(expression, argument)

    def violations(self) -> list[str]:
        """Return what axe-core finds at fault in the page as it is now."""
        if not self.value("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found: list[str] = self.value(
            """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
              .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 160)}`))"""
        )
        return found


@contextmanager
def borrowed(window: Window) -> Iterator[Window]:
    """Lend a window that several tests share, each in rooms of its own; check at the end that it had no problem."""
    try:
        yield window
        assert window.problems == [], window.problems
    finally:
        window.problems.clear()


OpenWindow = Callable[..., Window]


@contextmanager
def windows(browser: Browser, server_url: str) -> Iterator[OpenWindow]:
    """Open windows on a server; check at the end that no window had a problem."""
    opened: list[Window] = []

    def open_window(name: str | None = None, **options: Any) -> Window:
        options = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", **options}
        opened.append(Window(browser.new_context(**options), server_url, name))
        return opened[-1]

    try:
        yield open_window
        problems = [problem for window in opened for problem in window.problems]
        assert problems == [], problems
    finally:
        for window in opened:
            window.context.close()
