"""A talking script: each action is a process of curl, and one more of them follows the room as JSON lines."""

import asyncio
import json
import os
import secrets
import signal
from contextlib import suppress
from urllib.parse import quote

import msgspec

from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Gap
from chatkit.errors import BadReference, Unavailable
from chatkit.wire.protocol import WireMessage
from talkers.delivered import DeliveredTalker
from talkers.known import Action
from talkers.talker import ROOM

MAX_LINE_BYTES = 2**20
AGAIN_S = 0.2  # between two attempts, while a server is being started again


class CurlTalker(DeliveredTalker):
    """A script that acts over HTTP."""

    kind = "curl"

    async def _act(self, action: Action) -> None:
        """Act and, where a repetition does no harm, try again until a server has answered."""
        message = f"/rooms/{ROOM}/messages/{action.seq}"
        emoji = quote(action.text)
        match action.act:
            case None | Act.PIN | Act.UNPIN:
                value = {"body": action.text} | ({"of": action.seq} if action.seq else {})
                value |= {"act": action.act} if action.act else {}
                await self._until_answered("POST", f"/rooms/{ROOM}/messages", value, key=secrets.token_hex(8))
            case Act.EDIT:
                await self._call("PATCH", message, {"body": action.text})
            case Act.REACT:
                await self._call("PUT", f"{message}/reactions/{emoji}")
            case Act.UNREACT:
                await self._call("DELETE", f"{message}/reactions/{emoji}")
            case Act.REDACT:
                await self._until_answered("DELETE", message)

    async def _until_answered(self, method: str, path: str, value: object = None, *, key: str = "") -> None:
        while True:
            try:
                return await self._call(method, path, value, key=key)
            except Unavailable:
                self.n_unavailable += 1
                await asyncio.sleep(AGAIN_S)

    async def _call(self, method: str, path: str, value: object = None, *, key: str = "") -> None:
        words = ["--max-time", "30", "-w", "\n%{http_code}", "-X", method]
        words += ["-H", f"Idempotency-Key: {key}"] if key else []
        words += [] if value is None else ["-H", "Content-Type: application/json", "--data-binary", json.dumps(value)]
        curl = await self._curl(*words, f"{self._place.url}{path}?name={self.name}")
        output, _ = await curl.communicate()
        body, _, status = output.decode().rpartition("\n")
        if curl.returncode or int(status) >= 500:
            raise Unavailable(body or f"curl {curl.returncode}")
        if int(status) >= 400:
            raise BadReference(body)

    async def _curl(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "curl", "-sS", "-N", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            limit=MAX_LINE_BYTES,
        )  # fmt: skip

    async def _follow(self) -> None:
        while True:
            where = "history=1000" if self._cursor is None else f"after={self._cursor}"
            address = f"{self._place.url}/rooms/{ROOM}/events?{where}"
            curl = await self._curl("-H", "Accept: application/x-ndjson", address)
            try:
                await self._read(curl)
            finally:
                with suppress(ProcessLookupError):
                    os.kill(curl.pid, signal.SIGKILL)  # `curl.kill` would take the status from the event loop
                await curl.wait()
            await asyncio.sleep(AGAIN_S)

    async def _read(self, curl: asyncio.subprocess.Process) -> None:
        assert curl.stdout
        async for line in curl.stdout:
            if not line.endswith(b"\n"):
                return  # the server was killed halfway
            value = json.loads(line)
            if "reason" in value:
                self._receive(msgspec.convert({"room": ROOM, **value}, Gap, strict=False))
            elif "seq" in value:
                epoch = Cursor.parse(value["cursor"]).epoch
                self._receive(msgspec.convert(value, WireMessage).to_message(epoch))
