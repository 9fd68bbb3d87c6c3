"""Hits of a search in a text, to mark them. Knows no message and no terminal."""

from collections.abc import Iterator

from chatkit.core.text import fold, normalize


def split_at_hits(text: str, search: str) -> list[tuple[str, bool]]:
    """Return the pieces of a text in NFC, each with whether it is a hit of the search.

    The search finds text regardless of case and of composed or decomposed letters, as in a store.
    """
    text = normalize(text)
    pieces: list[tuple[str, bool]] = []
    done = 0
    for start, end in _hits(text, fold(search)):
        if start >= done:
            pieces += [(text[done:start], False), (text[start:end], True)]
            done = end
    return [(piece, is_hit) for piece, is_hit in (*pieces, (text[done:], False)) if piece]


def _hits(text: str, folded_search: str) -> Iterator[tuple[int, int]]:
    """Iterate over the starts and ends of the hits. Case folding may make a character longer: `ß` becomes `ss`."""
    if not folded_search:
        return
    folded = [char.casefold() for char in text]
    positions = [at for at, chars in enumerate(folded) for _ in chars]  # in the text, of each folded character
    whole = "".join(folded)
    found = whole.find(folded_search)
    while found >= 0:
        end = found + len(folded_search)
        yield positions[found], positions[end - 1] + 1
        found = whole.find(folded_search, end)
