"""Bot: functions that answer the messages of rooms. It runs a `Client`, and adds no connection of its own."""

import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from functools import partial
from typing import Any, TypeVar

from chatkit.client.bot_command import BotCommand
from chatkit.client.client import Client
from chatkit.client.endpoint import DEFAULT_URL
from chatkit.client.received_message import ReceivedMessage
from chatkit.client.signals import Item
from chatkit.core.model import Message, check_sender
from chatkit.core.text import fold, normalize
from chatkit.errors import BadRequest

Handler = Callable[..., Awaitable[object]]
HandlerT = TypeVar("HandlerT", bound=Handler)
Call = Callable[[], Awaitable[object]]
"""A call of a handler with its arguments."""

FAILED = "Sorry, that failed. The reason is in the log of this bot."

_logger = logging.getLogger(__name__)


class Bot:
    """A program that answers in rooms.

    Its handlers are asynchronous functions:

        bot = Bot("helper", server="https://chat.example.org", token=token)

        @bot.command("deploy")
        async def deploy(message: ReceivedMessage, target: str, count: int = 1) -> None:
            await message.reply(f"{count} x {target}")

        bot.start("ops", "dev")

    A message goes to all handlers that match it, in the order in which they were registered. The messages of a room are
    handled one after another, those of different rooms at the same time. If a handler raises an error, the error is
    logged, a reply says that it failed, and the bot continues. After a lost connection, the bot continues where it was:
    it misses no message and handles none twice. It begins with the messages that are published after its start, unless
    the server keeps its place: see `run`.

    Handlers do not get messages of the bot itself, messages of other bots (those with the token of a bot), edits,
    reactions and other changes.

    Args:
        name: Name of the bot. If it has a token, the token's name counts.
        server: URL of the server, as for `Client`.
        token: Access token of the server: one of a bot, made by `chatkit token add --bot`.
        prefix: Characters with which a command begins. The terminal and the page take lines with `/` for commands of
            their own.
        answer_bots: Whether handlers get messages of other bots, too. Two bots can then answer each other without an
            end.

    """

    def __init__(
        self,
        name: str,
        server: str = DEFAULT_URL,
        token: str | None = None,
        *,
        prefix: str = "!",
        answer_bots: bool = False,
    ) -> None:
        if not prefix or prefix != "".join(prefix.split()):
            raise ValueError("the prefix of a command is one or more characters without blanks")
        self._name = check_sender(name)
        self._server = server
        self._token = token
        self._prefix = prefix
        self._answers_bots = answer_bots
        self._commands: dict[str, BotCommand] = {}
        self._matchers: list[Callable[[ReceivedMessage], Call | None]] = []

    def command(self, name: str) -> Callable[[HandlerT], HandlerT]:
        """Register a handler for messages that begin with the prefix and `name`, such as `!deploy prod`.

        The handler is called with the message and the words behind the name. Double quotation marks hold words
        together. A word is converted to the type of its parameter: `str`, `int`, `float`, `bool`, an enum, a `Literal`
        and whatever else `msgspec.convert` reads from text. A parameter with a default is optional, and `*words` gets
        all that remain. If the words do not fit, the bot replies what is wrong and how the command is used.

        Raises:
            ValueError: If `name` has blanks, or the bot has this command already.
            TypeError: If the handler is not an asynchronous function, or has parameters for something else.

        """

        def register(handler: HandlerT) -> HandlerT:
            command = BotCommand(self._prefix + name, _check_handler(handler))
            key = fold(name)
            if key in self._commands or name.split() != [name]:
                raise ValueError(f"{name!r} has blanks, or is the name of another command")
            self._commands[key] = command
            self._matchers.append(lambda message: self._match_command(key, message))
            return handler

        return register

    def on_mention(self, handler: HandlerT) -> HandlerT:
        """Register a handler for messages that mention the bot, such as `@helper hello`. It gets the message."""
        _check_handler(handler)

        def find(message: ReceivedMessage) -> Call | None:
            return partial(handler, message) if message.client.name in message.mentions else None

        self._matchers.append(find)
        return handler

    def on_message(self, *, match: str | re.Pattern[str] = "") -> Callable[[HandlerT], HandlerT]:
        """Register a handler for messages whose body contains a regular expression; without one, for all messages.

        Letters with accents match in whichever form they were typed: the body is compared in NFC.
        The handler gets the message and, as keyword arguments, the named groups of the expression.
        """
        pattern = re.compile(normalize(match) if isinstance(match, str) else match)

        def register(handler: HandlerT) -> HandlerT:
            _check_handler(handler)

            def find(message: ReceivedMessage) -> Call | None:
                found = pattern.search(normalize(message.body))
                return partial(handler, message, **found.groupdict()) if found else None

            self._matchers.append(find)
            return handler

        return register

    def start(self, room: str, *rooms: str, as_: str | None = None) -> None:
        """Run the bot in an event loop of its own until Ctrl-C. Parameters and errors are those of `run`."""
        with suppress(KeyboardInterrupt):
            asyncio.run(self.run(room, *rooms, as_=as_))

    async def run(self, room: str, *rooms: str, as_: str | None = None) -> None:
        """Answer in rooms until cancelled, or until an error ends it.

        Args:
            room: Name of a room.
            rooms: Names of more rooms.
            as_: Name of the consumers in which the server keeps the bot's place in each room. The bot then continues
                with the messages that were published while it was not running, and a message in whose handler it was
                killed or cancelled comes again. Without a name, it begins with those that are published after its
                start.

        Raises:
            BadName: If one of the names is not that of a room.
            NotFound: If the bot may not read a room, also if it loses that right later.
            ChatkitError: As `Client` raises it.

        """
        async with Client(self._server, self._name, self._token) as client:
            tasks = [asyncio.create_task(self._answer_in(each, client, as_)) for each in dict.fromkeys([room, *rooms])]
            try:
                await asyncio.gather(*tasks)  # not a task group: it would wrap an error in an ExceptionGroup
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer_in(self, room: str, client: Client, as_: str | None) -> None:
        async with _items(room, client, as_) as items:
            async for item in items:
                if isinstance(item, Message):
                    await self._handle(ReceivedMessage.new(item, client))
                else:
                    _logger.warning("%s: messages are missing: %s", room, item)

    async def _handle(self, message: ReceivedMessage) -> None:
        is_change = message.act is not None or message.redacted
        is_ignored = message.sender == message.client.name or (message.bot and not self._answers_bots)
        if is_change or is_ignored:
            return
        for match in self._matchers:
            call = match(message)
            if call is not None:
                await _call(call, message)

    def _match_command(self, name: str, message: ReceivedMessage) -> Call | None:
        """Return the call of a command, or of the reply to a line that does not fit it; None for another message."""
        first, *rest = message.body.split(maxsplit=1) or [""]
        if fold(first) != fold(self._prefix + name):
            return None
        command = self._commands[name]
        try:
            arguments = command.parse("".join(rest))
        except BadRequest as error:
            return partial(message.reply, f"{error} Usage: {command.usage}")
        return partial(command.handler, message, *arguments)


def _items(room: str, client: Client, as_: str | None) -> AbstractAsyncContextManager[AsyncIterable[Item]]:
    if as_ is None:
        return aclosing(client.follow(room, history=0))
    return client.consume(room, as_=as_)


def _check_handler(handler: Any) -> Handler:
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(f"a handler of a bot is an `async def` function: {handler!r}")
    checked: Handler = handler
    return checked


async def _call(call: Call, message: ReceivedMessage) -> None:
    """Call a handler. If it fails, log the error and reply that it failed."""
    try:
        await call()
    except Exception:
        _logger.exception("%s #%d: a handler failed", message.room, message.seq)
        try:
            await message.reply(FAILED)
        except Exception:
            _logger.exception("%s #%d: no reply is possible", message.room, message.seq)
