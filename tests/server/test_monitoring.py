"""Dashboard, alert rules and documentation name metrics that a server really shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # Litestar brings it, without types
from in_process import serve_in_process
from prometheus_client.parser import text_string_to_metric_families
from raw_client import run

from chatkit.server.metrics import METRICS, names
from chatkit.server.openapi import openapi_document
from chatkit.server.settings import Settings

TREE = Path(__file__).parents[2]
DASHBOARD = TREE / "examples/deploy/grafana.json"
ALERTS = TREE / "examples/deploy/alerts.yaml"
GUIDE = TREE / "docs/operate.md"
NAME = re.compile(r"\b(?:chatkit|process)_\w+")
LABELS = re.compile(r"(?:by|on|without) \(([^)]*)\)|[{,] ?(\w+)=")
ADDED_BY_PROMETHEUS = {"instance", "job"}


def scrape() -> dict[str, set[str]]:
    """Scrape a server; return the names of the samples, each with its labels."""
    found: dict[str, set[str]] = {}

    async def read() -> str:
        async with serve_in_process() as server:
            await server.call("GET", "/rooms")
            return (await server.call("GET", "/metrics")).body.decode()

    for family in text_string_to_metric_families(run(read())):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    variables = dashboard()["templating"]["list"]
    yield from (variable["definition"] for variable in variables if variable["type"] == "query")
    yield from (rule["expr"] for rule in rules())


def test_every_expression_names_metrics_and_labels_that_are_exported() -> None:
    exported = scrape()
    for expression in expressions():
        used = set(NAME.findall(expression))
        assert used, expression
        assert used <= exported.keys(), expression
        given = {label.strip() for listed, one in LABELS.findall(expression) for label in (listed or one).split(",")}
        assert given <= set().union(*(exported[name] for name in used)) | ADDED_BY_PROMETHEUS, expression


def test_the_dashboard_has_a_panel_for_each_metric() -> None:
    shown = set(NAME.findall(" ".join(expressions())))
    assert {name.removesuffix("_bucket") for name in shown} >= set(names())


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24  # the columns of Grafana


def test_every_alert_says_what_happened_and_how_bad_it_is() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        brackets = re.sub(r"[^(){}\[\]]", "", re.sub(r'"[^"]*"', "", rule["expr"]))
        while brackets != (shorter := re.sub(r"\(\)|\{\}|\[\]", "", brackets)):
            brackets = shorter
        assert not brackets, rule["expr"]


def test_the_guide_describes_every_metric() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", GUIDE.read_text(), re.MULTILINE))
    assert list(rows)[2:] == [metric.name for metric in METRICS]
    assert set(rows) == set(names())
    for metric in METRICS:
        label = f"`{metric.label}`" if metric.label else ""
        assert rows[metric.name] == " | ".join([metric.kind, label, metric.meaning]).replace("|  |", "| |")


def test_the_openapi_document_describes_every_metric() -> None:
    document = openapi_document(Settings().limits, "", needs_token=True)
    description = document["paths"]["/metrics"]["get"]["description"]
    assert all(metric.name in description and metric.meaning in description for metric in METRICS)
