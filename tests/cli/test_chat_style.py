"""The colours of names in a chat."""

import pytest

from chatkit.cli.chat.style import BASIC_PALETTE, DIM, MAX_KNOWN, PALETTE, Style, palette_of

NAMES = [f"name-{number}" for number in range(len(PALETTE))]


def luminance(number: int) -> float:
    """Return the relative luminance (WCAG 2.2) of one of xterm's 216 colours."""
    levels = (0, 95, 135, 175, 215, 255)
    index = number - 16
    channels = (levels[index // 36], levels[index // 6 % 6], levels[index % 6])
    red, green, blue = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", PALETTE)
def test_each_colour_is_legible_on_black_and_on_white(colour: str) -> None:
    value = luminance(int(colour.rpartition(";")[2]))
    assert (value + 0.05) / 0.05 >= 4
    assert 1.05 / (value + 0.05) >= 4


def test_names_that_are_present_have_different_colours() -> None:
    style = Style(is_coloured=True)
    style.set_present(NAMES)
    assert len({style.colour_of(name) for name in NAMES}) == len(PALETTE)
    style.set_present([*NAMES, "one more"])
    assert style.colour_of("one more") in PALETTE


def test_a_name_keeps_its_colour_while_it_is_present() -> None:
    style = Style(is_coloured=True)
    style.set_present(["ann"])
    colour = style.colour_of("ann")
    assert colour == Style(is_coloured=True).colour_of("ann")  # it depends on the name
    for name in NAMES:
        style.set_present(["ann", name])
        assert style.colour_of(name) != colour
    assert style.colour_of("ann") == colour


def test_names_that_are_not_present_are_forgotten() -> None:
    style = Style(is_coloured=True)
    style.set_present(["ann"])
    colour = style.colour_of("ann")
    for number in range(3 * MAX_KNOWN):
        style.colour_of(f"guest-{number}")
    assert len(style._colours) <= MAX_KNOWN
    assert style.colour_of("ann") == colour


def test_the_palette_is_that_of_the_terminal() -> None:
    assert palette_of({"TERM": "xterm-256color"}) == palette_of({"COLORTERM": "truecolor"}) == PALETTE
    assert palette_of({"TERM": "vt100"}) == BASIC_PALETTE


def test_text_without_colours_is_plain() -> None:
    assert Style(is_coloured=True).paint("hi", DIM) == "\x1b[2mhi\x1b[0m"
    assert Style(is_coloured=False).paint("hi", DIM) == "hi"
