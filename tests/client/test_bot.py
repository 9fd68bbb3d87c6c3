"""A bot that answers in the rooms of a server."""

import asyncio
import logging
import runpy
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from access_server import AccessServer, access_server, grant

from chatkit.client import Bot, Client, Presence, ReceivedMessage
from chatkit.core.model import Draft, Message
from chatkit.core.token import TokenKind
from chatkit.errors import BadName, Unauthorized
from chatkit.pytest_plugin.chatkit_server import ChatkitServer

EXAMPLE = Path(__file__).parents[2] / "examples/bot.py"
PATIENCE_S = 20  # bounds a test that would hang


def run(test: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test

    asyncio.run(limited())


class Asker:
    """A person in a room with a bot: `ask` publishes a body and returns the next message of the bot."""

    def __init__(self, client: Client, room: str) -> None:
        self.client = client
        self.room = room
        self.items = client.follow(room, history=0, signals=True)

    async def ask(self, body: str) -> Message:
        await self.client.publish(self.room, body)
        return await self.next()

    async def next(self) -> Message:
        async for item in self.items:
            if isinstance(item, Message) and item.sender != self.client.name:
                return item
        raise AssertionError("a follow does not end")

    async def wait_for(self, name: str) -> None:
        async for item in self.items:
            if isinstance(item, Presence) and name in item.joined:
                return


@asynccontextmanager
async def asking(server: AccessServer | ChatkitServer, bot: Bot, *rooms: str) -> AsyncIterator[Asker]:
    """Run a bot in rooms, and yield a person in the first of them."""
    async with Client(server.url, "ann") as client:
        asker = Asker(client, rooms[0])
        await client.publish(rooms[0], "!ping before the start")
        await anext(asker.items)
        running = asyncio.create_task(bot.run(*rooms))
        waiting = asyncio.create_task(asker.wait_for("helper"))
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done(), running.exception()
        try:
            yield asker
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await asker.items.aclose()


def test_a_command_gets_its_words_and_a_bad_line_is_answered() -> None:
    async def test() -> None:
        async with access_server() as server:
            bot = Bot("helper", server.url)

            @bot.command("deploy")
            async def deploy(message: ReceivedMessage, target: str, count: int = 1) -> None:
                await message.reply(f"{count} x {target} for {message.sender}", data={"target": target})

            async with asking(server, bot, "ops") as ann:
                answer = await ann.ask('!deploy "prod eu" 3')
                assert (answer.body, answer.data, answer.of) == ("3 x prod eu for ann", {"target": "prod eu"}, 2)
                assert (await ann.ask("!DEPLOY\ndev")).body == "1 x dev for ann"
                answers = [(await ann.ask(line)).body for line in ("!deploy", "!deploy dev x", '!deploy "dev')]
                usage = " Usage: !deploy TARGET [COUNT]"
                assert answers == [
                    "TARGET is missing." + usage,
                    "'x' is not valid as COUNT: expected int." + usage,
                    "A quotation mark is not closed." + usage,
                ]
                await ann.client.publish("ops", "!deployment dev")
                await ann.client.publish("ops", "run !deploy dev")
                assert (await ann.ask("!deploy last")).body == "1 x last for ann"

    run(test())


def test_mentions_and_matches_reach_all_their_handlers_in_order() -> None:
    async def test() -> None:
        async with access_server() as server:
            bot = Bot("helper", server.url)

            @bot.on_mention
            async def greet(message: ReceivedMessage) -> None:
                await message.reply("hello")

            @bot.on_message(match=r"issue #(?P<number>\d+)")
            async def link(message: ReceivedMessage, number: str) -> None:
                await message.reply(f"https://issues.example/{number}")

            @bot.on_message()
            async def note(message: ReceivedMessage) -> None:
                await message.react("👀")

            async with asking(server, bot, "ops") as ann:
                assert (await ann.ask("@helper: see issue #12")).body == "hello"
                assert (await ann.next()).body == "https://issues.example/12"
                assert ((await ann.next()).body, (await ann.ask("nothing")).body) == ("👀", "👀")

    run(test())


def test_accents_match_in_whichever_form_they_are_typed() -> None:
    async def test() -> None:
        async with access_server() as server:
            bot = Bot("helper", server.url)

            @bot.command("cafe\u0301")
            async def order(message: ReceivedMessage) -> None:
                await message.reply("ordered")

            @bot.on_message(match="na\u00efve")
            async def note(message: ReceivedMessage) -> None:
                await message.reply("noted")

            async with asking(server, bot, "ops") as ann:
                assert (await ann.ask("!CAF\u00c9")).body == "ordered"
                assert (await ann.ask("how nai\u0308ve")).body == "noted"

    run(test())


def test_an_error_in_a_handler_is_logged_and_answered_and_the_bot_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with access_server() as server:
            bot = Bot("helper", server.url, prefix="?")

            @bot.command("divide")
            async def divide(message: ReceivedMessage, number: int) -> None:
                await message.reply(str(12 // number))

            async with asking(server, bot, "ops") as ann:
                assert (await ann.ask("?divide 0")).body == "Sorry, that failed. The reason is in the log of this bot."
                assert (await ann.ask("?divide 4")).body == "3"

    with caplog.at_level(logging.ERROR, "chatkit.client.bot"):
        run(test())
    (record,) = caplog.records
    assert (record.getMessage(), record.exc_info is not None) == ("ops #2: a handler failed", True)


def test_bots_changes_and_its_own_messages_are_not_handled() -> None:
    async def test() -> None:
        async with access_server(open_grants=(everything := grant("*", "read", "write"),)) as server:
            helper, other = [
                (await server.token(name, everything, kind=TokenKind.BOT)).secret for name in ("helper", "other")
            ]
            bot = Bot("another name", server.url, helper)

            @bot.on_message(match="^(?P<start>.)")
            async def echo(message: ReceivedMessage, start: str) -> None:
                await message.reply(start)

            async with asking(server, bot, "ops") as ann, Client(server.url, token=other) as robot:
                assert (await ann.ask("first")).sender == "helper"
                await robot.publish("ops", "machine")
                assert (await ann.next()).sender == "other"
                await ann.client.react("ops", 2, "👍")
                assert (await ann.ask("second")).body == "s"

    run(test())


def test_after_lost_connections_each_message_is_handled_once(chatkit_server: ChatkitServer) -> None:
    handled: list[str] = []

    async def test() -> None:
        bot = Bot("helper", chatkit_server.url)
        is_done = asyncio.Event()

        @bot.on_message()
        async def note(message: ReceivedMessage) -> None:
            handled.append(message.body)
            if message.body == "last":
                is_done.set()

        async with asking(chatkit_server, bot, "ops"):
            for number in range(5):
                chatkit_server.publish("ops", f"before {number}")
                chatkit_server.drop_links()
                chatkit_server.publish("ops", f"after {number}")
            chatkit_server.publish("ops", "last")
            await is_done.wait()

    run(test())
    assert handled == [*(f"{when} {number}" for number in range(5) for when in ("before", "after")), "last"]


def test_with_a_kept_place_it_continues_where_it_was_stopped() -> None:
    async def test() -> None:
        async with access_server() as server, Client(server.url, "ann") as client:
            bot = Bot("helper", server.url)
            handled: asyncio.Queue[str] = asyncio.Queue()

            @bot.on_message()
            async def note(message: ReceivedMessage) -> None:
                handled.put_nowait(message.body)
                if message.body == "two" and is_first_run:
                    await asyncio.Event().wait()

            await server.hub.publish(Draft("ops", "ann", "zero"))
            await server.hub.consumers.put("ops", "place", owner="helper", after="end")
            for is_first_run, bodies in ((True, ["one", "two"]), (False, ["two", "three"])):
                await client.publish_all("ops", bodies if is_first_run else bodies[1:])
                running = asyncio.create_task(bot.run("ops", as_="place"))
                assert [await handled.get() for _ in bodies] == bodies
                running.cancel()
                await asyncio.wait({running})
                assert running.cancelled()

    run(test())


def test_one_bot_answers_in_several_rooms() -> None:
    async def test() -> None:
        async with access_server() as server:
            bot = Bot("helper", server.url)

            @bot.command("where")
            async def where(message: ReceivedMessage) -> None:
                await message.reply(message.room)

            async with asking(server, bot, "ops", "dev", "ops") as ann:
                assert (await ann.ask("!where")).body == "ops"
                in_dev = Asker(ann.client, "dev")
                reading = asyncio.ensure_future(in_dev.next())
                await ann.client.publish("dev", "!where")
                assert (await reading).body == "dev"
                await in_dev.items.aclose()

    run(test())


def test_the_example_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with access_server() as server:
            monkeypatch.setenv("CHATKIT_SERVER", server.url)
            example = runpy.run_path(str(EXAMPLE))
            async with asking(server, example["bot"], "ops") as ann:
                assert (await ann.ask("!roll 2 3")).body.replace("2", "1") == "1 1 1"
                assert (await ann.ask("!roll many")).body.endswith("Usage: !roll [SIDES] [COUNT]")
                assert (await ann.ask("@helper hello")).body == "👋"
                assert (await ann.ask("as in issue #12")).body == "https://issues.example.org/12"

    run(test())


def test_an_error_of_the_server_ends_the_bot_as_it_is() -> None:
    async def test() -> None:
        async with access_server() as server:
            await server.token("somebody", grant("*", "read"))
            with pytest.raises(Unauthorized):
                await Bot("helper", server.url, "ck_wrong_token").run("ops", "dev")
            with pytest.raises(BadName):
                await Bot("helper", server.url).run("no room")

    run(test())


def test_registering_what_cannot_work_raises() -> None:
    bot = Bot("helper")

    async def handler(message: ReceivedMessage) -> None:
        """Accept a message."""

    def blocking(message: ReceivedMessage) -> None:
        """Accept a message, but without waiting."""

    bot.command("one")(handler)
    with pytest.raises(ValueError, match="another command"):
        bot.command("ONE")(handler)
    with pytest.raises(ValueError, match="has blanks"):
        bot.command("two words")(handler)
    wrong: Any = blocking
    for register in (bot.command("two"), bot.on_mention, bot.on_message()):
        with pytest.raises(TypeError, match="async def"):
            register(wrong)
    with pytest.raises(ValueError, match="prefix"):
        Bot("helper", prefix=" ")
    with pytest.raises(BadName):
        Bot("\n")
