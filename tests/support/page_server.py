"""What the tests of the page do on its server: publish messages, and read those that are stored."""

import http.client
import json
from typing import Any
from urllib.parse import quote

from serving import ServerProcess
from websockets.sync.client import connect


def request(server: ServerProcess, method: str, path: str, value: Any = None, sender: str = "robot") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        body = None if value is None else json.dumps(value)
        connection.request(method, f"{path}?name={quote(sender)}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text) if text else None
    finally:
        connection.close()


def publish(server: ServerProcess, room: str, body: str, sender: str = "robot", data: Any = None) -> int:
    value = {"body": body} if data is None else {"body": body, "data": data}
    seq: int = request(server, "POST", f"/rooms/{quote(room)}/messages", value, sender)["seq"]
    return seq


def fill(server: ServerProcess, room: str, count: int) -> None:
    """Publish `message 1` to `message COUNT`, and return when all are stored."""
    with connect(f"{server.ws_url}/ws/{room}?name=filler&history=0") as socket:
        for number in range(1, count + 1):
            socket.send(f"message {number}")
        for number in range(1, count + 1):
            assert socket.recv(timeout=20) == f"message {number}"


def stored(server: ServerProcess, room: str) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", f"/rooms/{room}/messages?limit=1000")
        return [message["body"] for message in json.loads(connection.getresponse().read())["messages"]]
    finally:
        connection.close()
