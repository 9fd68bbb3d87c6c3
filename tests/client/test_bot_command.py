"""How a line becomes the arguments of a bot's command."""

from typing import Any, Literal

import pytest

from chatkit.client.bot_command import BotCommand, split_words
from chatkit.errors import BadRequest


async def deploy(message: object, target: Literal["prod", "dev"], count: int = 1) -> None:
    """Accept a word, and a number that may be left out."""


async def announce(message: object, room, *words: str) -> None:  # type: ignore[no-untyped-def]
    """Accept a word and all others."""


async def scale(message: object, *factors: float) -> None:
    """Accept numbers."""


async def stop(message: object) -> None:
    """Accept no words."""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("prod  3\n", ["prod", "3"]),
        ('"two words" "" x', ["two words", "", "x"]),
        ('name="two words"', ["name=two words"]),
        (r"don't C:\temp 'a b'", ["don't", r"C:\temp", "'a", "b'"]),
    ],
)
def test_words_are_split_at_blanks_outside_of_quotation_marks(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("handler", "text", "arguments"),
    [
        (deploy, "prod", ["prod"]),
        (deploy, "dev 12", ["dev", 12]),
        (announce, "ops", ["ops"]),
        (announce, 'ops good "morning, all"', ["ops", "good", "morning, all"]),
        (scale, "1 2.5", [1.0, 2.5]),
        (stop, " ", []),
    ],
)
def test_words_become_arguments_of_the_types_of_the_parameters(handler: Any, text: str, arguments: list[Any]) -> None:
    assert BotCommand("!x", handler).parse(text) == arguments


@pytest.mark.parametrize(
    ("handler", "text", "answer"),
    [
        (deploy, "", "TARGET is missing."),
        (deploy, "mars", "'mars' is not valid as TARGET: expected one of prod, dev."),
        (deploy, "prod many", "'many' is not valid as COUNT: expected int."),
        (deploy, "prod 1 2 3", "'2' is one word too many."),
        (deploy, 'prod "1', "A quotation mark is not closed."),
        (scale, "1 two", "'two' is not valid as FACTORS: expected float."),
        (stop, "x" * 100, f"'{'x' * 40}' is one word too many."),
    ],
)
def test_what_does_not_fit_is_answered_by_a_sentence(handler: Any, text: str, answer: str) -> None:
    with pytest.raises(BadRequest) as caught:
        BotCommand("!x", handler).parse(text)
    assert str(caught.value) == answer


def test_the_usage_names_the_parameters() -> None:
    forms = [BotCommand(f"!{each.__name__}", each).usage for each in (deploy, announce, stop)]
    assert forms == ["!deploy TARGET [COUNT]", "!announce ROOM [WORDS ...]", "!stop"]


async def without_message() -> None:
    """Accept no message."""


async def with_option(message: object, *, force: bool = False) -> None:
    """Accept what no word reaches."""


@pytest.mark.parametrize("handler", [without_message, with_option])
def test_a_handler_that_cannot_be_called_with_words_is_refused(handler: Any) -> None:
    with pytest.raises(TypeError, match="a parameter for the message"):
        BotCommand("!x", handler)
