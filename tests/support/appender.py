"""A process that appends to a store until it is killed: `python -m appender STORE NAME COUNT`.

It appends COUNT batches of messages with keys, and prints the key and the number of each message when it is stored.
"""

import asyncio
import sys

from chatkit.backends import open_backend
from chatkit.core.model import Draft


async def main(url: str, name: str, count: int) -> None:
    async with open_backend(url) as backend:
        for n in range(count):
            batch = [Draft("ops", name, "x" * 100, key=f"{name}.{n}.{i}") for i in range(1 + n % 8)]
            for receipt in await backend.append(batch):
                print(receipt.message.key, receipt.message.seq, flush=True)  # noqa: T201 - for the test


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
