"""Emojis: what counts as one, and the one way in which each is written. Knows no message."""

import re
import unicodedata
from typing import Final

from chatkit.errors import BadRequest

MAX_EMOJI_CHARS: Final = 32
EMOJI_RULE: Final = f"one emoji or its :name:, at most {MAX_EMOJI_CHARS} characters"

_EMOJI_NAME: Final = re.compile(r":[a-z0-9_+-]{1,30}:")
_JOINER: Final = "\u200d"
_SELECTOR: Final = "\ufe0f"  # asks for the coloured glyph of the character before it
_KEYCAP: Final = re.compile(f"([0-9#*]){_SELECTOR}?\u20e3")
_FLAG_LETTER: Final = re.compile("[\U0001f1e6-\U0001f1ff]")
_FLAG: Final = re.compile(f"{_FLAG_LETTER.pattern}{{2}}")
_SKIN: Final = re.compile("[\U0001f3fb-\U0001f3ff]")
# What follows a pictograph and belongs to it: the selector, a skin colour, and the letters of a flag's tag.
_EXTENDER: Final = re.compile(f"[{_SELECTOR}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]+")
# The emojis that are shown as text without a selector: Emoji and not Emoji_Presentation in Unicode 17 (UTS 51).
_TEXT_BY_DEFAULT: Final = re.compile(
    "["
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf\u23ed-\u23ef\u23f1\u23f2"
    "\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc\u2600-\u2604\u260e\u2611\u2618\u261d\u2620\u2622"
    "\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u265f\u2660\u2663\u2665\u2666\u2668\u267b\u267e"
    "\u2692\u2694-\u2697\u2699\u269b\u269c\u26a0\u26a7\u26b0\u26b1\u26c8\u26cf\u26d1\u26d3\u26e9\u26f0\u26f1"
    "\u26f4\u26f7-\u26f9\u2702\u2708\u2709\u270c\u270d\u270f\u2712\u2714\u2716\u271d\u2721\u2733\u2734\u2744"
    "\u2747\u2763\u2764\u27a1\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299\U0001f170\U0001f171\U0001f17e"
    "\U0001f17f\U0001f202\U0001f237\U0001f321\U0001f324-\U0001f32c\U0001f336\U0001f37d\U0001f396\U0001f397"
    "\U0001f399-\U0001f39b\U0001f39e\U0001f39f\U0001f3cb-\U0001f3ce\U0001f3d4-\U0001f3df\U0001f3f3\U0001f3f5"
    "\U0001f3f7\U0001f43f\U0001f441\U0001f4fd\U0001f549\U0001f54a\U0001f56f\U0001f570\U0001f573-\U0001f579"
    "\U0001f587\U0001f58a-\U0001f58d\U0001f590\U0001f5a5\U0001f5a8\U0001f5b1\U0001f5b2\U0001f5bc"
    "\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de\U0001f5e1\U0001f5e3\U0001f5e8\U0001f5ef"
    "\U0001f5f3\U0001f5fa\U0001f6cb\U0001f6cd-\U0001f6cf\U0001f6e0-\U0001f6e5\U0001f6e9\U0001f6f0\U0001f6f3"
    "]"
)
_SQUARES: Final = ("\u25fd", "\u25fe")  # the other emojis that are no symbols of the category So


def check_emoji(text: str) -> str:
    """Return the usual form of one emoji, or the text if it is a name between colons. Raise `BadRequest`.

    The usual form is that of keyboards: with a selector behind each part that would be shown as text otherwise.
    """
    if len(text) <= MAX_EMOJI_CHARS:
        if _EMOJI_NAME.fullmatch(text):
            return text
        if _is_emoji(text) and len(usual := _usual_form(text)) <= MAX_EMOJI_CHARS:
            return usual
    raise BadRequest(f"a reaction is {EMOJI_RULE}")


def is_same_emoji(one: str, other: str) -> bool:
    """Return whether two texts are one emoji, apart from its selectors."""
    return one.replace(_SELECTOR, "") == other.replace(_SELECTOR, "")


def _is_emoji(text: str) -> bool:
    """Return whether a text is one pictograph, several that are joined to one, a flag or a keycap."""
    if _KEYCAP.fullmatch(text) or _FLAG.fullmatch(text):
        return True
    return all(
        _is_pictograph(part[:1]) and (len(part) == 1 or _EXTENDER.fullmatch(part, 1) is not None)
        for part in text.split(_JOINER)
    )


def _is_pictograph(char: str) -> bool:
    if _TEXT_BY_DEFAULT.match(char):
        return True
    return (unicodedata.category(char or " ") == "So" and not _FLAG_LETTER.match(char)) or char in _SQUARES


def _usual_form(text: str) -> str:
    if keycap := _KEYCAP.fullmatch(text):
        return f"{keycap[1]}{_SELECTOR}\u20e3"
    return _JOINER.join(map(_with_selector, text.replace(_SELECTOR, "").split(_JOINER)))


def _with_selector(part: str) -> str:
    is_text = _TEXT_BY_DEFAULT.match(part) and not _SKIN.match(part, 1)  # a skin colour asks for a glyph, too
    return f"{part[0]}{_SELECTOR}{part[1:]}" if is_text else part
