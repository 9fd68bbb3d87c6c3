"""Text is compared regardless of case and of composed letters: by the vectors that the page has, too."""

import json
from pathlib import Path
from typing import Any

import pytest

from chatkit.cli.hits import split_at_hits
from chatkit.core.text import fold, normalize

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "text.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["folds"], ids=lambda vector: ascii(vector["text"]))
def test_the_shared_vectors_are_folded_as_they_say(vector: dict[str, str]) -> None:
    assert fold(vector["text"]) == vector["folded"]


@pytest.mark.parametrize("vector", VECTORS["finds"], ids=lambda vector: ascii(vector["text"]))
def test_hits_are_those_of_the_shared_vectors(vector: dict[str, Any]) -> None:
    hits = [piece for piece, is_hit in split_at_hits(vector["text"], vector["query"]) if is_hit]
    assert hits == [normalize(found) for found in vector["found"]]
