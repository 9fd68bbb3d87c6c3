"""The names of rooms and senders: one rule in Python and in JavaScript, checked by the same vectors."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chatkit.core.model import check_room, check_sender
from chatkit.errors import BadName

HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((HERE / "vectors" / "names.json").read_text())
INVISIBLE = [chr(int(code, 16)) for code in VECTORS["invisible"]]

RUN = """
import { readFileSync } from "node:fs";
const { checkRoom, checkSender } = await import(process.argv[1]);
const vectors = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const wrong = [];
for (const [kind, check] of [["room", checkRoom], ["sender", checkSender]]) {
  for (const { text, name } of vectors[kind]) {
    if (check(text) !== name) wrong.push([kind, text.slice(0, 40), name, check(text)]);
  }
  for (const code of vectors.invisible) {
    const char = String.fromCodePoint(parseInt(code, 16));
    for (const text of [char, `ann${char}`, `an${char}n`]) {
      // JavaScript and Python trim the same characters: an invisible one is none of them.
      if (check(text) !== null) wrong.push([kind, code, null, check(text)]);
    }
  }
}
console.log(JSON.stringify(wrong));
"""


def named(check: Any, text: str) -> str | None:
    try:
        return str(check(text))
    except BadName:
        return None


@pytest.mark.parametrize(("kind", "check"), [("room", check_room), ("sender", check_sender)])
def test_the_server_normalizes_names_as_in_the_vectors(kind: str, check: Any) -> None:
    for vector in VECTORS[kind]:
        assert named(check, vector["text"]) == vector["name"], vector["text"][:40]


@pytest.mark.parametrize("char", INVISIBLE, ids=VECTORS["invisible"])
def test_names_with_invisible_characters_are_refused(char: str) -> None:
    for text in (char, f"ann{char}", f"an{char}n"):
        assert named(check_room, text) is None
        assert named(check_sender, text) is None


def test_the_page_normalizes_names_as_the_server_does() -> None:
    module = (HERE.parents[1] / "static" / "validation.js").as_uri()
    command = ["node", "--input-type=module", "-e", RUN, module, str(HERE / "vectors" / "names.json")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # our own script
    assert json.loads(found.stdout) == []
