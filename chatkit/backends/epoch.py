"""The name of one life of a store's rooms."""

import secrets
import string

ALPHABET = string.ascii_lowercase + string.digits
CHARS = 8  # 41 bits: that two lives of one store share a name is not to be seen


def new_epoch() -> str:
    """Make a random name: when a store is made, or made anew."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CHARS))
