"""Where a text mentions names, for colouring. The server has computed which names. No I/O."""

import re
from collections.abc import Iterator, Sequence

from chatkit.core.text import normalize


def split_mentions(text: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Iterate over the parts of a text: each with the name that it mentions, or an empty string."""
    if not names or "@" not in text:
        yield text, ""
        return
    text = normalize(text)
    by_text = {name.casefold(): name for name in names}
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    begin = 0
    for match in re.finditer(rf"(?<!\w)@({'|'.join(longest_first)})(?![\w])", text, re.IGNORECASE):
        yield text[begin : match.start()], ""
        yield match[0], by_text.get(match[1].casefold(), match[1])
        begin = match.end()
    yield text[begin:], ""
