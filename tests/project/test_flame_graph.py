"""The picture of where the time goes: the boxes of a flame graph."""

import importlib.util
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

SCRIPT = Path(__file__).parents[2] / "docs" / "flame_graph.py"


def test_a_box_is_as_wide_as_its_samples_and_above_those_that_it_called() -> None:
    spec = importlib.util.spec_from_file_location("flame_graph", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    graph = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(graph)
    samples = Counter({("core: a", "wire: b"): 2, ("core: a",): 1, ("session: <c>", "wire: b"): 5})
    assert [tuple(box) for box in graph.boxes(samples)] == [
        ("session: <c>", 0, 5, 0),
        ("wire: b", 0, 5, 1),
        ("core: a", 5, 8, 0),
        ("wire: b", 5, 7, 1),
    ]
    picture = ET.fromstring("".join(graph.draw(samples)))
    titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["session: <c>: 62.5%", "wire: b: 62.5%", "core: a: 37.5%", "wire: b: 25.0%"]
