"""Names that a reader may confuse have equal skeletons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.core.model import check_sender
from chatkit.core.names import is_anonymous, is_role, skeleton, skeletons
from chatkit.errors import BadName, ChatkitError


def is_sender(text: str) -> bool:
    try:
        return check_sender(text) == text
    except ChatkitError:
        return False


def look_alike(one: str, other: str) -> bool:
    return not set(skeletons(one)).isdisjoint(skeletons(other))


SENDERS = st.text(min_size=1, max_size=32).filter(is_sender)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ann", "\u0430nn"),  # Cyrillic a
        ("ann", "ANN"),
        ("ann", "ann\u200d"),
        ("ann", "an\ufe0fn"),
        ("ann", "\uff41\uff4e\uff4e"),  # full width
        ("ann", "\U0001d51e\U0001d52b\U0001d52b"),  # mathematical letters
        ("ann", "a\u0578\u0578"),  # Armenian
        ("ann", "\xe4nn"),
        ("ann", "\u13aann"),  # Cherokee
        ("hans", "\u0397ans"),  # the Greek capital eta
        ("HANS", "\u041dANS"),  # the Cyrillic en
        ("NINA", "\u039dINA"),  # the Greek capital nu
        ("vera", "\u03bdera"),  # the Greek nu
        ("\u0430\u043d\u043d\u0430", "\u0410\u041d\u041d\u0410"),  # the same Cyrillic name in capitals
        ("\u03bd\u03b9\u03ba\u03cc\u03bb\u03b1\u03bf\u03c2", "\u039d\u0399\u039a\u038c\u039b\u0391\u039f\u03a3"),
        ("alice", "aIice"),
        ("alice", "a1ice"),
        ("bob", "b0b"),
        ("adam", "adarn"),
        ("wanda", "vvanda"),
        ("ann lee", "ann  lee"),
        ("ann lee", "ann\xa0lee"),
        ("stra\xdfe", "STRASSE"),
    ],
)
def test_look_alikes_are_found(name: str, other: str) -> None:
    assert look_alike(name, other)
    assert look_alike(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ann", "anna"),
        ("ann", "a nn"),
        ("hat", "vat"),
        ("ann", "bnn"),
        ("\u0915\u093f", "\u0915\u093e"),  # Devanagari vowels are marks, and tell names apart
        ("\u738b", "\u6c6a"),
        ("dev-1", "dev-2"),
    ],
)
def test_different_names_are_kept_apart(name: str, other: str) -> None:
    assert not look_alike(name, other)


@given(SENDERS)
def test_a_skeleton_is_that_of_itself_and_the_same_in_any_case(name: str) -> None:
    assert skeleton(skeleton(name)) == skeleton(name)
    assert look_alike(name, name.casefold())
    assert look_alike(name, name.upper())


@given(SENDERS, st.integers(0, 32), st.sampled_from("\u200b\u200d\ufe0f\u2060\u00ad"))
def test_an_invisible_character_changes_no_skeleton(name: str, at: int, invisible: str) -> None:
    assert skeleton(name[:at] + invisible + name[at:]) == skeleton(name)


def test_a_long_text_is_refused_before_any_work() -> None:
    with pytest.raises(BadName):
        skeleton("\u0430" * 10_000_000)


def test_an_ascii_name_has_one_skeleton() -> None:
    assert skeletons("Ann") == ("ann",)


def test_names_of_roles_and_of_nobody_are_known() -> None:
    assert is_role("Adm\u0456n")
    assert is_role("SYSTEM")
    assert not is_role("ann")
    assert is_anonymous("An0nymous")
    assert not is_anonymous("ann")
