"""Two agents and a person in a room, without a model. Start it with `python examples/agents/conversation.py`.

ann asks the planner for something. The planner gives the worker one step after another, and reports when all are done.
Then ann starts a discussion that the two would never end: the server stops them. Prints the room, and ends.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from agent import ToolFailed, run_agent

from chatkit.client import Client, Gap, Message

ROOM = "team"
BOT_LIMIT = 12  # the default of a server is 100
STEPS = ("build it", "test it", "release it")


async def planner(message: dict[str, Any]) -> str | None:
    """Answer as a planner would, from the text of the message alone."""
    text = message["body"]
    if "colour" in text:
        return "@worker I say blue"
    done = [step for step in STEPS if f"done: {step}" in text]
    if done and done[0] == STEPS[-1]:
        return "@ann everything is done"
    if done or "release" in text:
        following = STEPS[STEPS.index(done[0]) + 1] if done else STEPS[0]
        return f"@worker please {following}"
    return "@worker but blue is better" if "green" in text else None


async def worker(message: dict[str, Any]) -> str | None:
    """Answer as a worker would."""
    text = message["body"]
    step = next((step for step in STEPS if f"please {step}" in text), None)
    if step is not None:
        return f"@planner done: {step}"
    return "@planner no, green" if "blue" in text else None


async def converse(url: str, tokens: dict[str, str], show: Callable[[str], None] = print) -> None:
    """Let the two agents and ann talk, with the tokens of `planner`, `worker` and `ann`."""
    stopped = asyncio.Event()

    def on_refused(error: ToolFailed) -> None:
        show(f"        (the server refused an agent: {error})")
        stopped.set()

    async with Client(url, "ann", tokens["ann"]) as ann, asyncio.TaskGroup() as tasks:
        agents = [
            tasks.create_task(run_agent(url, tokens["planner"], ROOM, planner, on_refused)),
            tasks.create_task(run_agent(url, tokens["worker"], ROOM, worker, on_refused)),
        ]
        async with aclosing(ann.follow(ROOM, history=1_000)) as room:
            await show_until(room, "I am here", show)
            await show_until(room, "I am here", show)
            await ann.publish(ROOM, "@planner please prepare the release")
            await show_until(room, "everything is done", show)
            await ann.publish(ROOM, "@planner which colour should it have?")
            await stopped.wait()
            await ann.publish(ROOM, "stop it, I decide: red")
            await show_until(room, "I decide", show)
        for agent in agents:
            agent.cancel()


async def show_until(room: AsyncIterator[Message | Gap], text: str, show: Callable[[str], None]) -> None:
    """Show messages up to the one that contains a text."""
    async for item in room:
        if isinstance(item, Message):
            show(f"{item.sender:>8} {item.body}")
            if text in item.body:
                return


@contextmanager
def running_server(store: str) -> Iterator[str]:
    """Run a server on a free port, and yield its address."""
    words = ["serve", "--port", "0", "--backend", store, "--bot-limit", str(BOT_LIMIT)]
    with subprocess.Popen([*CHATKIT, *words], stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            found = (re.search(r"http://[^/\s]+", line) for line in server.stderr or ())
            yield next(match[0] for match in found if match)
        finally:
            server.terminate()


def make_token(store: str, name: str, *options: str) -> str:
    """Make a token, and return its secret."""
    words = ["token", "add", name, "--read", ROOM, "--write", ROOM, *options, "--backend", store, "--json"]
    made = subprocess.run([*CHATKIT, *words], stdout=subprocess.PIPE, check=True)  # noqa: S603
    return str(json.loads(made.stdout)["secret"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder) / 'rooms.db'}"
        tokens = {name: make_token(store, name, "--bot") for name in ("planner", "worker")}
        tokens["ann"] = make_token(store, "ann")
        with running_server(store) as url:
            asyncio.run(converse(url, tokens))


CHATKIT = (sys.executable, "-m", "chatkit")

if __name__ == "__main__":
    main()
