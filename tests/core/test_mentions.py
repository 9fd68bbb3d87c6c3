"""Which names a body mentions."""

import pytest
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core.hub import Hub
from chatkit.core.mentions import MAX_MENTIONS, find_mentions
from chatkit.core.model import Draft

NAMES = {"ann", "release", "release-bot", "Ann Lee", "bob", "кот", "o'neil", "é"}


def known(text: str) -> str | None:
    return text if text in NAMES else None


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ("@ann", ("ann",)),
        ("hi @ann, and (@bob)!", ("ann", "bob")),
        ("@release-bot deploy", ("release-bot",)),
        ("@release deploy", ("release",)),
        ("@release-manager", ()),
        ("@release- now", ("release",)),
        ("@releases", ()),
        ("@release_x", ()),
        ("@Ann Lee is here", ("Ann Lee",)),
        ("@Ann Leeds", ()),
        ("mail ann@bob.example", ()),
        ("@ann @ann @bob", ("ann", "bob")),
        ("@кот, привет", ("кот",)),
        ("@o'neil's", ("o'neil",)),
        ("@@ann", ("ann",)),
        ("@ ann", ()),
        ("@ann\n@bob", ("ann", "bob")),
        ("@e\u0301", ()),
        ("nobody", ()),
        ("@", ()),
        ("", ()),
    ],
)
def test_the_longest_known_name_after_an_at_sign_is_mentioned(body: str, mentions: tuple[str, ...]) -> None:
    assert find_mentions(body, known) == mentions


@pytest.mark.parametrize("body", ["@" * 65_536, "@a" * 32_768, "@-" * 32_768, "@ann " * 13_000, "@" + "." * 65_535])
def test_the_work_for_a_hostile_body_is_bounded(body: str) -> None:
    n_asked = 0

    def count(_text: str) -> None:
        nonlocal n_asked
        n_asked += 1

    find_mentions(body, count)
    assert n_asked <= MAX_MENTIONS * 32


def test_a_hub_stores_whom_a_message_mentions() -> None:
    async def go() -> list[tuple[str, ...]]:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops", member="cat")
            with reader:
                receipts = [
                    await hub.publish(Draft("ops", "ann", body)) for body in ("hi @cat", "hi @Cat", "@dan", "no one")
                ]
            return [receipt.message.mentions for receipt in receipts]

    assert run(go()) == [("cat",), (), (), ()]
