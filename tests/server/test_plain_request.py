"""What of a plain request is read without Litestar."""

import asyncio
from itertools import count
from time import process_time
from typing import Any

from chatkit.server.app import MAX_REQUEST_BYTES
from chatkit.server.plain_request import PlainRequest


def test_a_body_in_many_parts_is_read_in_linear_time() -> None:
    async def read() -> bytes | None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"x" * 32, "more_body": next(numbers) < 0}

        scope: Any = {"client": None, "query_string": b""}
        return await PlainRequest(scope, receive, "ops", {}).read_body()

    numbers = count(-32_767)
    began_s = process_time()
    assert asyncio.run(read()) == b"x" * MAX_REQUEST_BYTES
    assert process_time() - began_s < 0.5  # copying what has arrived for each part takes seconds
