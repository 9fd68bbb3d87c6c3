"""The rule for a draft whose key is known: does it repeat the stored message or contradict it? For every backend."""

from typing import Any

import msgspec

from chatkit.core.model import Draft, Message, Receipt

_encode = msgspec.json.Encoder(order="deterministic").encode


def repeat_of(draft: Draft, stored: Message) -> Receipt:
    """Return the receipt of a draft whose sender has already stored a message with the draft's key in this room.

    A redacted message has no content left to compare: every draft with its key counts as a repeat of it.
    """
    is_same_content = stored.redacted or (draft.body == stored.body and _is_same_json(draft.data, stored.data))
    is_same_reference = draft.of == stored.of and draft.act == stored.act
    return Receipt(stored, repeat=True, conflict=not (is_same_content and is_same_reference))


def _is_same_json(one: Any, other: Any) -> bool:
    # In Python 1, 1.0 and True are equal; in JSON they are not. The order of an object's members has no meaning.
    return one is other or _encode(one) == _encode(other)
