"""The project has one language: standard names, plain English, and one class per name."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
FOLDERS = ("chatkit", "cli", "docs", "examples", "static", "tests")
SUFFIXES = {".css", ".env", ".html", ".js", ".lua", ".md", ".mjs", ".service", ".sql", ".yaml"}  # read line by line

OLD_CLASSES = frozenset({
    "Account", "Attendance", "Bells", "Breaker", "Broken", "Crew", "Door", "Entrance", "Feed", "Gate", "Grown",
    "Hand", "Hearing", "House", "Lane", "LiveRoom", "Lobby", "Mended", "News", "Opening", "Orders", "Past", "Share",
    "Tally", "Wheel", "Wire", "Writing",
})  # fmt: skip
OLD_MODULES = frozenset({
    "account", "attendance", "bells", "breaker", "crew", "door", "entrance", "feed", "gate", "greeting", "guard",
    "hand", "hearing", "house", "lane", "lobby", "moment", "news", "notice", "opening", "orders", "pace", "past",
    "plain", "scroll", "share", "speaker", "sweep", "tally", "turns", "watch", "wheel",
})  # fmt: skip
OLD_FUNCTIONS = frozenset({"hear", "present", "ring", "say", "take", "tell"})
OLD_VERBS = frozenset({"Be", "End", "Have", "Hear", "Know", "Say", "Take", "Tell"})  # at the beginning of a docstring

PHRASES = re.compile(
    r"\b(anew|meanwhile|likewise|whoever|heard|hears?|to be had|for ever|but for|(?-i:(is|are) none)"
    r"|none of its own|of its own accord|one too many|those to tell|nobody is told|(is|are|was|were|be|been) told"
    r"|tells? (of|it|them|who|what))\b",
    re.IGNORECASE,
)

# To parse a file takes long: only those that contain one of these are parsed.
OLD_NAME = re.compile(rf"\b({'|'.join(OLD_CLASSES)})\b|\bdef _*({'|'.join(OLD_FUNCTIONS)})_*\b")
OLD_VERB = re.compile(rf"\"\"\"\s*({'|'.join(OLD_VERBS)})\b")
CLASS = re.compile(r"\bclass ")

Finding = tuple[int, str]
NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.alias, ast.Name, ast.Attribute)


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((TREE / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    yield from sorted(TREE.glob("*.md"))
    for folder in FOLDERS:
        yield from sorted(path for path in (TREE / folder).rglob("*") if path.suffix in SUFFIXES)
    yield from (TREE / "examples/deploy" / name for name in ("Caddyfile", "Dockerfile", "nginx.conf"))


def nodes(path: Path, sign: re.Pattern[str]) -> Iterator[ast.AST]:
    """Iterate over the parts of a module that have a name or a docstring, if its text contains the sign."""
    text = path.read_text()
    if sign.search(text):
        yield from (node for node in ast.walk(ast.parse(text)) if isinstance(node, NAMED))


def old_names(path: Path) -> Iterator[Finding]:
    if path.stem in OLD_MODULES:
        yield 1, f"module {path.stem}"
    for node in nodes(path, OLD_NAME):
        match node:
            case ast.ClassDef(name=name) | ast.alias(name=name) | ast.Name(id=name) | ast.Attribute(attr=name):
                if name in OLD_CLASSES:
                    yield getattr(node, "lineno", 1), f"class {name}"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.strip("_") in OLD_FUNCTIONS:
                    yield node.lineno, f"function {name}"
            case _:
                pass


def old_docstrings(path: Path) -> Iterator[Finding]:
    for node in nodes(path, OLD_VERB):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            verb = text.split()[0].strip(".,:")
            if verb in OLD_VERBS:
                yield node.lineno, f"docstring {verb!r}"


def phrases_in_python(path: Path) -> Iterator[Finding]:
    """Find phrases in comments and strings, which include docstrings and error sentences."""
    text = path.read_text()
    if not PHRASES.search(text):  # the tokens of most files need not be found
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING} or token.type == getattr(tokenize, "FSTRING_MIDDLE", None):
            for offset, found in phrases(token.string):
                yield token.start[0] + offset - 1, found


def phrases_in_text(path: Path) -> Iterator[Finding]:
    yield from phrases(path.read_text())


def phrases(text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.split("\n"), 1):
        yield from ((number, f"phrase {match[0]!r}") for match in PHRASES.finditer(line))


def find(paths: Iterator[Path], check: Callable[[Path], Iterator[Finding]]) -> list[str]:
    """Return the findings of a check as `file:line: what`. This file is left out, because it has the lists."""
    others = (path for path in paths if path != Path(__file__))
    return [f"{path.relative_to(TREE)}:{line}: {what}" for path in others for line, what in check(path)]


@pytest.mark.parametrize("check", [old_names, old_docstrings, phrases_in_python])
def test_python_uses_standard_names_and_plain_english(check: Callable[[Path], Iterator[Finding]]) -> None:
    assert find(python_files("chatkit", "cli", "tests", "examples"), check) == []


def test_documents_and_the_page_use_plain_english() -> None:
    assert find(text_files(), phrases_in_text) == []


def test_a_class_name_is_defined_once() -> None:
    every_node = chain.from_iterable(nodes(path, CLASS) for path in python_files("chatkit", "cli"))
    names = Counter(node.name for node in every_node if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_checks_find_what_they_forbid(tmp_path: Path) -> None:
    module = tmp_path / "lobby.py"
    module.write_text('class Lobby:\n    def tell(self):\n        """Tell them."""\n        # begins anew\n')
    assert [*old_names(module)] == [(1, "module lobby"), (1, "class Lobby"), (2, "function tell")]
    assert [*old_docstrings(module)] == [(2, "docstring 'Tell'")]
    assert [what for _, what in phrases_in_python(module)] == ["phrase 'Tell them'", "phrase 'anew'"]
