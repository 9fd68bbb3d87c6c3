"""Parts of the HTML page at `/schema`: prose, tables of values with their types, and examples."""

import json
from html import escape
from typing import Any

Json = dict[str, Any]


def text(prose: str) -> str:
    """Return prose as HTML, with the text between backticks as code."""
    parts = escape(" ".join(prose.split())).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def table(caption: str, rows: list[str]) -> str:
    """Return a table; nothing without rows."""
    if not rows:
        return ""
    heading = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="wide"><table>{heading}<tbody>{"".join(rows)}</tbody></table></div>'


def row(name: str, description: str, schema: Json) -> str:
    """Return the row of a value. `name` is HTML."""
    about = text(description or schema.get("description", ""))
    return f"<tr><th>{name}</th><td>{about}</td><td>{kind_of(schema)}</td></tr>"


def parameter_row(name: str, where: str, description: str, schema: Json) -> str:
    """Return the row of a parameter in the path, the query or a header."""
    return row(f"<code>{escape(name)}</code><small>{where}</small>", description, schema)


def property_rows(schema: Json) -> list[str]:
    """Return a row for each property of an object."""
    required = schema.get("required", [])
    return [
        row(f"<code>{escape(key)}</code>{'' if key in required else '<small>optional</small>'}", "", value)
        for key, value in schema.get("properties", {}).items()
    ]


def kind_of(schema: Json) -> str:
    """Return the type of a value in a few words, with a link if the page describes it."""
    if "$ref" in schema:
        name = name_of(schema)
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema and "properties" not in schema:
        return " or ".join(kind_of(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
    kinds = schema.get("type", "any")
    words = " or ".join(kinds) if isinstance(kinds, list) else kinds
    notes = [
        f"{key} {schema[key]}" for key in ("format", "pattern", "minimum", "maximum", "maxLength") if key in schema
    ]
    return escape(", ".join([words, *notes]))


def name_of(reference: Json) -> str:
    """Return the last part of a reference."""
    return str(reference["$ref"]).rpartition("/")[2]


def examples(caption: str, values: list[Any]) -> str:
    """Return examples that a click opens. Texts are shown as they are, everything else as JSON."""
    if not values:
        return ""
    shown = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1) for value in values]
    blocks = "".join(f"<pre><code>{escape(each)}</code></pre>" for each in shown)
    return f"<details><summary>{caption}</summary>{blocks}</details>"
