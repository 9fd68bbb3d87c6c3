"""What a chat publishes, in order. Shows which lines are not stored yet, and reports those that are refused."""

import asyncio

from chatkit.cli.chat.input_area import MAX_WAITING
from chatkit.cli.chat.interface import ChatInterface
from chatkit.cli.chat.sent_lines import SentLines
from chatkit.cli.chat.transcript import Transcript
from chatkit.cli.next_steps import with_next_step
from chatkit.client import Client
from chatkit.core.message_state import Act
from chatkit.core.model import Receipt
from chatkit.errors import ChatkitError, NotFound


class ChatPublisher:
    """Publishes to one room. `sent` are the lines of this chat."""

    def __init__(self, interface: ChatInterface, transcript: Transcript) -> None:
        self.sent = SentLines(self._on_change)
        self._interface = interface
        self._transcript = transcript
        self._changed = asyncio.Event()  # for `finish`: `sent` has changed

    async def publish(
        self, client: Client, room: str, body: str, *, of: int | None = None, act: Act | None = None
    ) -> None:
        """Send a line, a reply or a change. Raise the error if it cannot be sent; later errors are reported."""
        answer = await client.submit(room, body, of=of, act=act, follow_rename=True)
        is_shown = self._interface.is_interactive and act in (None, Act.EDIT)
        self.sent.add(answer, body if is_shown else "")
        answer.add_done_callback(self.on_answer)

    def on_answer(self, answer: asyncio.Future[Receipt]) -> None:
        """Report a line that was refused, and a change that changes nothing."""
        self.sent.answered(answer)
        if answer.cancelled():
            return
        if error := answer.exception():
            reason = str(error)
            if isinstance(error, ChatkitError) and not isinstance(error, NotFound):
                reason = with_next_step(error)  # of a message that was not found, the number was mistyped
            self._interface.warn(f"not stored: {reason}")
        elif answer.result().repeat:
            self._interface.note("nothing to change: that was so already")

    async def finish(self) -> None:
        """Wait until all lines are stored and, in a pipe, also shown."""
        if not self.sent.all_stored and self._interface.is_interactive:
            self._interface.warn("waiting until everything is stored; press Ctrl-C to leave at once")
        while not (self.sent.all_stored and (self._interface.is_interactive or self.sent.all_shown)):
            self._changed.clear()
            await self._changed.wait()

    def _on_change(self) -> None:
        self._changed.set()
        if self._interface.is_interactive:
            self._interface.set_waiting(self._waiting_rows(self.sent.waiting, self._interface.width))

    def _waiting_rows(self, texts: list[str], width: int) -> list[str]:
        """Return the rows for the lines that are not shown yet: the first ones, and how many more there are."""
        if len(texts) <= MAX_WAITING:
            return [self._transcript.waiting(text, width) for text in texts]
        first = [self._transcript.waiting(text, width) for text in texts[: MAX_WAITING - 1]]
        return [*first, self._transcript.waiting(f"and {len(texts) - len(first)} more", width, has_name=False)]
