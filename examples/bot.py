"""A bot in thirty lines. Run it with `python bot.py`, and write `!roll 20` or `@helper hello` in the room ops."""

import os
import random

from chatkit.client import Bot, ReceivedMessage

bot = Bot("helper", os.environ.get("CHATKIT_SERVER", "http://127.0.0.1:8000"), os.environ.get("CHATKIT_TOKEN"))


@bot.command("roll")
async def roll(message: ReceivedMessage, sides: int = 6, count: int = 1) -> None:
    """Reply with thrown dice. A line that does not fit, such as `!roll many`, is answered by the bot itself."""
    if not (1 < sides <= 100 and 0 < count <= 10):
        await message.reply("I have up to 10 dice with up to 100 sides.")
        return
    await message.reply(" ".join(str(random.randint(1, sides)) for _ in range(count)))  # noqa: S311 - it is a game


@bot.on_mention
async def greet(message: ReceivedMessage) -> None:
    await message.react("👋")


@bot.on_message(match=r"issue #(?P<number>\d+)")
async def link(message: ReceivedMessage, number: str) -> None:
    await message.reply(f"https://issues.example.org/{number}")


if __name__ == "__main__":
    bot.start("ops")
