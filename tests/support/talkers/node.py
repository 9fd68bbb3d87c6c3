"""A talking page without a browser: the page's client, static/client.js, in Node."""

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from chatkit.core.message_state import Act
from chatkit.errors import BadReference, Unavailable
from chatkit.wire.protocol import WireMessage
from talkers.delivered import essence
from talkers.known import Action
from talkers.talker import ROOM, Outcome, Talker

SCRIPT = Path(__file__).parents[1] / "peers" / "talker.mjs"
MAX_LINE_BYTES = 2**24  # a window has at most 500 messages
AGAIN_S = 0.2  # between two attempts to redact


class NodeTalker(Talker):
    """A client that keeps a window of the log, which it moves at random, and compares it with the server's pages."""

    kind = "Node"
    _node: asyncio.subprocess.Process

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        self.n_compared = 0
        self._shown: list[WireMessage] = []
        self._node = await asyncio.create_subprocess_exec(
            "node", str(SCRIPT), self._place.url, self.name, ROOM,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES,
        )  # fmt: skip
        self._stack.push_async_callback(self._end)

    async def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._node.pid, signal.SIGKILL)
        await self._node.wait()

    async def _ask(self, command: str, **options: object) -> dict[str, Any]:
        assert self._node.stdin
        assert self._node.stdout
        self._node.stdin.write(json.dumps({"command": command, **options}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._node.stdout.readline())
        if "refused" in answer:
            raise BadReference(answer["refused"])
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        return answer

    async def _act(self, action: Action) -> None:
        match action.act:
            case None:
                await self._ask("say", text=action.text, of=action.seq)
            case Act.REDACT:
                await self._redact(action.seq)
            case act:
                await self._ask("change", act=act, seq=action.seq, text=action.text)

    async def _redact(self, seq: int) -> None:
        while True:
            try:
                await self._ask("redact", seq=seq)
            except Unavailable:  # the server may have been killed halfway
                self.n_unavailable += 1
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _go_and_return(self, tasks: asyncio.TaskGroup) -> None:
        """Lose the connection, or move the window to another part of the log and back."""
        match self._chance.randrange(4):
            case 0 | 1:
                await self._ask("leave")
                await self._sleep_away()
                await self._ask("come")
            case 2:
                await self._ask("around", seq=max(1, self._known.last - self._chance.randrange(1_000)))
                await self._ask("older")
            case _:
                await self._ask("newest")
        await self._compare()

    async def _compare(self) -> None:
        answer = await self._ask("compare")
        self.n_compared += answer.get("compared", 0)
        assert "mine" not in answer, f"{self.name} shows {answer['mine']}\nthe server {answer['theirs']}"

    async def _finish(self) -> None:
        await self._ask("stored")

    async def _settle(self, last: int) -> None:
        answer = await self._ask("settle", last=last)
        assert answer["gaps"] == [], self.name
        self._shown = msgspec.convert(answer["messages"], list[WireMessage])

    def check(self, outcome: Outcome) -> None:
        """The window is the end of the log."""
        shown = essence([message.to_message("") for message in self._shown])
        wanted = essence(outcome.shown)[-len(shown) :]
        different = [pair for pair in zip(shown, wanted, strict=True) if pair[0] != pair[1]]
        assert shown, f"{self.name} shows nothing"
        assert not different, f"{self.name} shows something else: {different[:2]}"
