"""The sentences about values that have the wrong form."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from chatkit.core.message_state import Act
from chatkit.wire.decoding import sentence_of


class Given(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of every kind that a frame, a body or a query can have."""

    limit: Annotated[int, Meta(ge=1)]
    body: Annotated[str, Meta(max_length=3)] = ""
    names: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=1)] = []
    act: Act | None = None
    wait: Annotated[float, Meta(lt=60)] = 0.0
    raw: bool = False


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("[]", "the frame must be an object, not a list"),
        ("{}", "limit is missing"),
        ('{"limit":0}', "limit must be a whole number of at least 1"),
        ('{"limit":"1"}', "limit must be a whole number, not text"),
        ('{"limit":1,"body":"four"}', "body must be text of at most 3 characters"),
        ('{"limit":1,"body":null}', "body must be text, not null"),
        ('{"limit":1,"names":[""]}', "names[0] must be text of at least 1 character"),
        ('{"limit":1,"names":["a","b"]}', "names must be a list of at most 1 item"),
        ('{"limit":1,"act":"sing"}', "act is not valid (invalid enum value 'sing')"),
        ('{"limit":1,"act":5}', "act must be text or null, not a whole number"),
        ('{"limit":1,"wait":60}', "wait must be a number of less than 60.0"),
        ('{"limit":1,"raw":1}', "raw must be true or false, not a whole number"),
        ('{"limit":1,"sung":1}', "there is no field sung"),
    ],
)
def test_a_wrong_value_is_described_in_plain_words(given: str, sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(given, type=Given)
    assert sentence_of(caught.value) == sentence
