"""Emojis: what counts as one, and that each is one reaction in whichever form it is typed."""

import json
import subprocess
from pathlib import Path

import pytest

from chatkit.core.emoji import check_emoji
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.errors import BadRequest

OFFERED = Path(__file__).parents[2] / "static" / "emoji.js"  # by the page
LAST_TESTED = "\U0001faff"  # emojis are added behind it
RUN = r"""
const { GROUPS } = await import(process.argv[1]);
const byDefault = [];
for (let code = 0x80; code <= parseInt(process.argv[2], 16); code++) {
  const char = String.fromCodePoint(code);
  const isText = /^\p{Emoji}$/u.test(char) && !/^\p{Emoji_Presentation}$/u.test(char);
  if (isText && !/^\p{Emoji_Modifier}$/u.test(char)) byDefault.push(char);
}
console.log(JSON.stringify([GROUPS.flatMap(({ emoji }) => emoji.map(({ char }) => char)), byDefault]));
"""


def read_page() -> tuple[list[str], list[str]]:
    """Return the emojis that the page offers, and those that Unicode shows as text by default."""
    command = ["node", "--input-type=module", "-e", RUN, OFFERED.as_uri(), f"{ord(LAST_TESTED):x}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # our own script
    offered, by_default = json.loads(found.stdout)
    return offered, by_default


@pytest.mark.parametrize(
    "emoji",
    ["👍", "👍🏽", "❤️", "👩‍💻", "👨‍👩‍👧‍👦", "🇩🇪", "1️⃣", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "✅", "🫠", ":+1:", ":tada:", ":a_b-c:", "🏳️‍🌈"],
)
def test_a_reaction_is_one_picture_or_a_name(emoji: str) -> None:
    assert check_emoji(emoji) == emoji


@pytest.mark.parametrize(
    "text",
    ["", " ", "a", "ok", "1", "👍👍", "👍 ", ":", "::", ":A:", ":a b:", "\u200d", "👍\u200d", "\ufe0f", "👍a",
     "<b>", "🇩",
     "\n", ":" + "a" * 31 + ":", "👩‍" * 17 + "💻", "x" * 100_000],
)  # fmt: skip
def test_anything_else_is_no_reaction(text: str) -> None:
    with pytest.raises(BadRequest, match="one emoji or its :name:"):
        check_emoji(text)


@pytest.mark.parametrize(
    ("typed", "usual"),
    [
        ("\u2764", "\u2764\ufe0f"),
        ("\U0001f44d\ufe0f", "\U0001f44d"),
        ("1\u20e3", "1\ufe0f\u20e3"),
        ("\U0001f3f3\u200d\U0001f308", "\U0001f3f3\ufe0f\u200d\U0001f308"),
        ("\U0001f575\ufe0f\U0001f3fd\u200d\u2642", "\U0001f575\U0001f3fd\u200d\u2642\ufe0f"),
        ("\u261d\ufe0f\U0001f3fd", "\u261d\U0001f3fd"),
        ("\u2620\ufe0f\ufe0f", "\u2620\ufe0f"),
        ("\u2663\ufe0f", "\u2663\ufe0f"),
    ],
)
def test_an_emoji_with_and_without_a_selector_is_one(typed: str, usual: str) -> None:
    assert check_emoji(typed) == usual
    assert check_emoji(usual) == usual


def test_a_change_stores_the_usual_form() -> None:
    for act in (Act.REACT, Act.UNREACT):
        draft = Draft.new("ops", "\u2764", sender="ann", of=1, act=act)
        assert draft.body == "\u2764\ufe0f"


def test_an_emoji_whose_usual_form_is_too_long_is_refused() -> None:
    with pytest.raises(BadRequest, match="at most 32 characters"):
        check_emoji("\u200d".join(["\u2764"] * 16))


def test_the_page_offers_emojis_in_their_usual_form_and_unicode_agrees() -> None:
    offered, by_default = read_page()
    assert [char for char in offered if check_emoji(char) != char] == []
    assert [char for char in by_default if check_emoji(char) != f"{char}\ufe0f"] == []
