"""Text from others, made harmless for a terminal. Knows nothing of messages.

What a terminal obeys and a person does not see is written out: escape sequences and all other control characters, what
turns the direction of text around, lone surrogates, separators of lines that are none. Line feeds and tabs stay.
"""

import unicodedata

_KEPT = frozenset("\n\t\u200c\u200d")  # joiners: scripts and emoji are written with them
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class _Visible(dict[int, str]):
    """For `str.translate`: how to write a character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = char if char in _KEPT or unicodedata.category(char) not in _OBEYED else self.write(code)
        return self[code]

    def write(self, code: int) -> str:
        if code < 0x20:
            return chr(0x2400 + code)  # the pictures of the control characters
        if code == 0x7F:
            return "\u2421"
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


class _Escaped(_Visible):
    """The same characters as JSON writes them in a string."""

    def write(self, code: int) -> str:
        units = chr(code).encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


_VISIBLE = _Visible()
_ESCAPED = _Escaped()


def visible(text: str) -> str:
    """Return the text with nothing in it that a terminal would obey, but line feeds and tabs."""
    return text if text.isprintable() else text.replace("\r\n", "\n").translate(_VISIBLE)


def one_line(text: str) -> str:
    """Return the text on one line."""
    return visible(text).replace("\n", "\u240a").replace("\t", " ")


def escaped(json: str) -> str:
    """Return the JSON with such characters as escapes of four digits: the same value, and harmless."""
    return json if json.isprintable() else json.translate(_ESCAPED)
