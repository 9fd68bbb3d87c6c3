"""A store that cannot be opened is reported with its address once, and the reason of the operating system."""

import asyncio

import pytest
from serving import free_port

from chatkit.backends import open_backend
from chatkit.errors import Unavailable


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://127.0.0.1:{port}", "Redis at 127.0.0.1:{port} does not answer: Connection refused"),
        ("postgresql://127.0.0.1:{port}/a", "postgresql://127.0.0.1:{port}/a cannot be reached: Connection refused"),
        ("sqlite:////proc/rooms.db", "/proc/rooms.db cannot be created: No such file or directory"),
    ],
)
def test_the_reason_of_the_operating_system_is_given(url: str, sentence: str) -> None:
    port = free_port()

    async def main() -> None:
        with pytest.raises(Unavailable) as caught:
            async with open_backend(url.format(port=port)):
                pass
        assert str(caught.value) == sentence.format(port=port)

    asyncio.run(main())
