"""Parts of JSON documents, and JSON schemas that Python can check."""

from typing import Any


def part_of(document: dict[str, Any], reference: str) -> Any:
    """Return the part of a document to which a reference such as `#/components/schemas/Room` points."""
    part: Any = document
    for key in reference.removeprefix("#/").split("/"):
        part = part[key]
    return part


def without_patterns(schema: Any) -> Any:
    """Return a schema without its patterns: their `\\p{L}` is not known to Python's `re`."""
    if isinstance(schema, dict):
        return {key: without_patterns(value) for key, value in schema.items() if key != "pattern"}
    return [without_patterns(each) for each in schema] if isinstance(schema, list) else schema
