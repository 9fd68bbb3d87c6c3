"""JSON of others: the same values and errors as msgspec's, also of numbers that it decodes slowly."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.core.json_decoder import SHORT, JsonDecoder, decode_json
from chatkit.core.model import Draft

FAR = ("1e300", "1E+300", "-1e289", "1e-308", "5e-324", "1.7976931348623157e+308", "2.2250738585072011e-308", "0e999")
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)


@given(st.lists(numbers | st.sampled_from([float(text) for text in FAR]), min_size=20))
def test_numbers_are_those_of_python(values: list[float]) -> None:
    text = json.dumps({"data": values, "padding": "x" * SHORT})
    for sent in (text, text.encode()):
        assert decode_json(sent) == json.loads(text)


def test_a_text_of_many_far_numbers_is_not_decoded_by_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read(text: str) -> float:
        asked.append(text)
        return float(text)

    monkeypatch.setattr("chatkit.core.json_decoder._read_float", read)
    decoder = JsonDecoder[Any]()
    for far in FAR:
        asked.clear()
        assert decoder.decode(f"[{', '.join([far] * SHORT)}]") == [float(far)] * SHORT
        assert len(asked) == SHORT
    assert decoder.decode(f"[{', '.join(['1.5e99'] * SHORT)}]") == [1.5e99] * SHORT
    assert asked == ["0e999"] * SHORT


@pytest.mark.parametrize("text", ["[1e999]", "[-1e400]", "[1e300,]", "[01e300]", "[1e+]", "[1e300"])
def test_what_is_not_json_is_refused_in_the_same_way(text: str) -> None:
    long = f"{text}{' ' * SHORT}1e300"
    for decode in (msgspec.json.decode, decode_json):
        with pytest.raises(msgspec.DecodeError):
            decode(long)


def test_far_numbers_are_published_as_they_are() -> None:
    data = [float(text) for text in FAR[:-1]] * SHORT
    assert Draft.new("ops", "", data=data).data == data
