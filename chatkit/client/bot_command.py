"""BotCommand: how the words of a line become the arguments of a function. Does no I/O."""

import inspect
import re
from collections.abc import Awaitable, Callable
from inspect import Parameter
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from chatkit.errors import BadRequest

MAX_SHOWN_CHARS: Final = 40  # of a word that is repeated in an answer

_WORD: Final = re.compile(r'(?:[^\s"]++|"[^"]*")++')
_WORDS_KINDS: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)


class BotCommand:
    """A command whose parameters, behind the message, are those of `handler`. `name` includes the prefix.

    Raises:
        TypeError: If the handler has no parameter for the message, or parameters that words cannot be passed to.

    """

    def __init__(self, name: str, handler: Callable[..., Awaitable[object]]) -> None:
        self.name = name
        self.handler = handler
        parameters = list(inspect.signature(handler, eval_str=True).parameters.values())
        if not parameters or any(each.kind not in _WORDS_KINDS for each in parameters):
            raise TypeError(f"the handler of {name} has a parameter for the message, then one for each word")
        self._parameters = parameters[1:]

    @property
    def usage(self) -> str:
        """The form of the command, such as `!deploy TARGET [COUNT]`."""
        return " ".join([self.name, *map(_shown, self._parameters)])

    def parse(self, text: str) -> list[Any]:
        """Return the arguments for the text behind the command. Raise `BadRequest` with a sentence for its sender."""
        words = split_words(text)
        arguments: list[Any] = []
        for parameter in self._parameters:
            if parameter.kind is Parameter.VAR_POSITIONAL:
                arguments += [_converted(word, parameter) for word in words]
                words = []
            elif words:
                arguments.append(_converted(words.pop(0), parameter))
            elif parameter.default is Parameter.empty:
                raise BadRequest(f"{_label(parameter)} is missing.")
        if words:
            raise BadRequest(f"{words[0][:MAX_SHOWN_CHARS]!r} is one word too many.")
        return arguments


def split_words(text: str) -> list[str]:
    """Split a text at blanks that are not between double quotation marks, and remove these. Raise `BadRequest`.

    Unlike in a shell, an apostrophe and a backslash are ordinary characters: people write "don't".
    """
    if text.count('"') % 2:
        raise BadRequest("A quotation mark is not closed.")
    return [word.replace('"', "") for word in _WORD.findall(text)]


def _converted(word: str, parameter: Parameter) -> Any:
    """Return a word as the type of a parameter; the rules are those of `msgspec.convert` for text."""
    if parameter.annotation in (Parameter.empty, str):
        return word
    try:
        return msgspec.convert(word, parameter.annotation, strict=False)
    except msgspec.ValidationError:
        expected = _expected(parameter.annotation)
        raise BadRequest(f"{word[:MAX_SHOWN_CHARS]!r} is not valid as {_label(parameter)}: {expected}.") from None


def _expected(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"expected one of {', '.join(map(str, get_args(annotation)))}"
    return f"expected {inspect.formatannotation(annotation)}"


def _label(parameter: Parameter) -> str:
    return parameter.name.upper()


def _shown(parameter: Parameter) -> str:
    if parameter.kind is Parameter.VAR_POSITIONAL:
        return f"[{_label(parameter)} ...]"
    return _label(parameter) if parameter.default is Parameter.empty else f"[{_label(parameter)}]"
