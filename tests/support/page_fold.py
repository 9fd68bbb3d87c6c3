"""The page's own fold of a log, static/relations.js, in one process of Node."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from chatkit.core.model import Message
from chatkit.wire.protocol import WireMessage

SCRIPT = Path(__file__).parent / "peers" / "fold.mjs"


@contextmanager
def page_fold() -> Iterator[Callable[[Sequence[Message]], list[Message]]]:
    """Yield a function that folds entries as the page does."""
    with subprocess.Popen(["node", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
        assert node.stdin
        assert node.stdout
        requests, answers = node.stdin, node.stdout

        def fold(entries: Sequence[Message]) -> list[Message]:
            log = msgspec.to_builtins([WireMessage.of_message(entry) for entry in entries])
            requests.write(json.dumps(log).encode() + b"\n")  # ASCII: Node ends lines also at U+2028
            requests.flush()
            folded = msgspec.json.decode(answers.readline(), type=list[WireMessage])
            return [message.to_message(entries[0].epoch) for message in folded]

        yield fold
