"""Text from other people, made safe for a terminal. Knows nothing of messages.

Characters that a terminal interprets but does not show are replaced by visible ones: escape sequences and all other
control characters, characters that change the direction of text, lone surrogates, and Unicode's line and paragraph
separators. Line feeds and tabs stay.
"""

import unicodedata

_KEPT = frozenset("\n\t\u200c\u200d")  # joiners: scripts and emoji are written with them
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class _Visible(dict[int, str]):
    """A table for `str.translate` that computes the replacement of a character at its first use."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = char if char in _KEPT or unicodedata.category(char) not in _UNSAFE else self.replacement(code)
        return self[code]

    def replacement(self, code: int) -> str:
        if code < 0x20:
            return chr(0x2400 + code)  # the pictures of the control characters
        if code == 0x7F:
            return "\u2421"
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


class _Escaped(_Visible):
    """The same table, with the escapes of a JSON string as replacements."""

    def replacement(self, code: int) -> str:
        units = chr(code).encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


_VISIBLE = _Visible()
_ESCAPED = _Escaped()


def visible(text: str) -> str:
    """Return the text with unsafe characters replaced; line feeds and tabs stay."""
    return text if text.isprintable() else text.replace("\r\n", "\n").translate(_VISIBLE)


def one_line(text: str) -> str:
    """Return the text on one line, with unsafe characters replaced."""
    return visible(text).replace("\n", "\u240a").replace("\t", " ")


def escaped(json: str) -> str:
    """Return the JSON with unsafe characters escaped as in a JSON string; its value stays the same."""
    return json if json.isprintable() else json.translate(_ESCAPED)
