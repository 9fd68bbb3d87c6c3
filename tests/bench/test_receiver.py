"""A receiver of webhooks under chaos."""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from standardwebhooks import Webhook as Signer

from chatkit.bench.chaos import receiver
from chatkit.bench.chaos.receiver import ReceiverConnection, WebhookReceiver
from chatkit.bench.chaos.receiver_event import ReceiverEvent, ReceiverJob

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwM3yxYoYjR0M="
DATA = {"room": "ops", "seq": 2, "time": "2026-11-20T13:56:51.426Z", "sender": "ann", "body": "hi"}
BODY = msgspec.json.encode({"type": "message", "timestamp": DATA["time"], "data": DATA})


def signed(secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Signer(secret).sign("msg_1", now, BODY.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


async def send(to: WebhookReceiver, headers: dict[str, str]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await to.answer(headers, BODY, ReceiverConnection(reader, writer))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


def reported(path: Path) -> list[str]:
    return [msgspec.json.decode(line, type=ReceiverEvent).kind for line in path.read_bytes().splitlines()]


def test_no_two_requests_in_a_row_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "FIRST_REFUSAL_S", (0.0, 0.0))
    monkeypatch.setattr(receiver, "REFUSAL_EVERY_S", (0.0, 0.0))
    events = os.open(tmp_path / "events", os.O_CREAT | os.O_WRONLY)
    made = WebhookReceiver(0, ReceiverJob(0, events, [SECRET], "epoch"))

    async def send_all() -> None:
        for _ in range(4):
            await send(made, signed())
        await send(made, signed("whsec_" + "A" * 32))

    asyncio.run(send_all())
    os.close(events)
    kinds = reported(tmp_path / "events")
    assert kinds == ["arrived", "refused", "arrived", "accepted"] * 2 + ["forged"]
