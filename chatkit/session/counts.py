"""Counts what sessions refuse: plain integers, of one process. The server counts its HTTP answers here as well."""

from collections import Counter


class RefusalCounts:
    """What was refused, by the codes of the errors, and how often a client was made to wait."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()  # by `ChatkitError.code`: a client cannot add keys
        self.n_pauses = 0  # how often a client had used up its allowance for commands
