"""What the page makes of a message's body, in Node: links without the punctuation around them, in linear time."""

import json
import subprocess
from pathlib import Path
from typing import Any

BODY = Path(__file__).parents[2] / "static/body.js"

# Strings are processed by these methods; the characters that they are given are the steps.
SCRIPT = """
const { parseBody } = await import(process.argv[1]);
let steps = 0;
for (const name of ["split", "replace", "slice", "endsWith"]) {
  const method = String.prototype[name];
  String.prototype[name] = function (...args) { steps += this.length; return method.apply(this, args); };
}
const results = [];
for (const body of JSON.parse(process.argv[2])) {
  steps = 0;
  const blocks = parseBody(body);
  results.push({ steps, blocks });
}
process.stdout.write(JSON.stringify(results));
"""


def parse(*bodies: str) -> list[dict[str, Any]]:
    command = ["node", "--input-type=module", "-e", SCRIPT, BODY.as_uri(), json.dumps(bodies)]
    return list(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def links(value: Any) -> list[str]:
    """Return the links in the blocks of a body, in their order."""
    if isinstance(value, list):
        return [link for item in value for link in links(item)]
    if not isinstance(value, dict):
        return []
    return [value["href"]] if "href" in value else links(list(value.values()))


def test_a_link_ends_before_the_punctuation_of_its_sentence() -> None:
    expected = {
        "see http://x.org/a.": "http://x.org/a",
        "(see http://x.org/a).": "http://x.org/a",
        "http://x.org/a_(b)": "http://x.org/a_(b)",
        "(http://x.org/a_(b)!)": "http://x.org/a_(b)",
        "http://x.org/?a=(b))).,)": "http://x.org/?a=(b)",
        "http://x.org/a.b": "http://x.org/a.b",
    }
    assert [links(parsed["blocks"]) for parsed in parse(*expected)] == [[link] for link in expected.values()]


def test_the_work_for_a_link_is_linear_in_its_length() -> None:
    for end in (")", ".)", "."):
        short, long = parse("http://x" + end * (500 // len(end)) + "a", "http://x" + end * (1_000 // len(end)) + "a")
        assert long["steps"] <= 2.5 * short["steps"]
        short, long = parse("http://x" + end * (500 // len(end)), "http://x" + end * (1_000 // len(end)))
        assert long["steps"] <= 2.5 * short["steps"]
