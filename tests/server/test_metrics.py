"""`GET /metrics`: the counts that it shows are those of what happened, and only operators see them."""

import httpx
from harness import until
from in_process import InProcess, serve_in_process
from prometheus_client.parser import text_string_to_metric_families
from raw_client import Talk, open_socket, run

from chatkit.core.access import parse_open
from chatkit.core.measures import BOUNDS_S
from chatkit.core.model import Draft
from chatkit.server.exposition import render
from chatkit.server.metrics import METRICS, MetricKind

TOKEN = "eight-or-more"

Samples = dict[str, dict[tuple[str, ...], float]]
"""By the name of the metric: each value by its labels other than the worker's."""


def parse(text: str) -> Samples:
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for name, value in sorted(sample.labels.items()) if name != "worker")
            assert sample.labels["worker"] == "0"
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


async def scrape(server: InProcess, **headers: str) -> Samples:
    answer = await server.call("GET", "/metrics", **headers)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.body.decode())


def test_every_metric_is_shown_from_the_start() -> None:
    async def test() -> None:
        async with serve_in_process() as server:
            samples = await scrape(server)
            for metric in METRICS:
                name = f"{metric.name}_count" if metric.kind is MetricKind.HISTOGRAM else metric.name
                assert name in samples or metric.name == "chatkit_http_responses_total", metric
            assert samples["chatkit_worker_up"] == {(): 1}
            assert samples["chatkit_store_available"] == {(): 1}
            assert len(samples["chatkit_commit_seconds_bucket"]) == len(BOUNDS_S) + 1
            assert samples["process_resident_memory_bytes"][()] > 1_000_000
            assert (await scrape(server))["chatkit_http_responses_total"] == {("200",): 1}

    run(test())


def test_messages_deliveries_readers_and_members_are_counted() -> None:
    async def test() -> None:
        async with serve_in_process() as server:
            async with (
                Talk.open(server, "/ws/ops?name=ann") as ann,
                Talk.open(server, "/ws/ops?name=ben") as ben,
                open_socket(server, "/ws/quiet?name=cy"),
            ):
                for body in ("first", "first", "another", "x", "y", "z"):
                    await ann.ask(op="publish", body=body, key="k" if len(body) > 1 else None)
                await ben.bodies(4)
                samples = await scrape(server)
                assert samples["chatkit_messages_published_total"] == {(): 4}
                assert samples["chatkit_messages_repeated_total"] == {(): 1}
                assert samples["chatkit_refusals_total"]["key-conflict",] == 1
                assert samples["chatkit_messages_delivered_total"] == {(): 8}
                assert samples["chatkit_connections"] == {("json",): 2, ("stream",): 0, ("text",): 1}
                assert samples["chatkit_rooms_read"] == {(): 2}
                assert samples["chatkit_readers"] == {(): 3}
                assert samples["chatkit_members"] == {(): 3}
                assert samples["chatkit_reader_lag_messages"] == {(): 0}
                assert 1 <= samples["chatkit_commit_seconds_count"][()] <= 6
                assert 1 <= samples["chatkit_fanout_seconds_count"][()] <= 5
            samples = await scrape(server)
            assert samples["chatkit_messages_delivered_total"] == {(): 8}  # also after the readers have left
            assert samples["chatkit_connections_opened_total"] == {("json",): 2, ("stream",): 0, ("text",): 1}
            assert samples["chatkit_readers"] == {(): 0}

    run(test())


def test_a_stream_is_counted_while_it_is_open() -> None:
    async def test() -> None:
        async with serve_in_process() as server, httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            async with client.stream("GET", "/rooms/ops/events") as response:
                lines = response.aiter_lines()  # the response is closed with it
                await anext(lines)
                assert (await scrape(server))["chatkit_connections"]["stream",] == 1
            await until(lambda: server.hub.counts["subscriptions"] == 0)
            assert (await scrape(server))["chatkit_connections"]["stream",] == 0

    run(test())


def test_only_operators_may_read_the_metrics() -> None:
    async def test() -> None:
        async with serve_in_process(secret=TOKEN) as server:
            assert (await server.call("GET", "/metrics")).problem == (401, "unauthorized")
            wrong = await server.call("GET", "/metrics", Authorization="Bearer wrong-token")
            assert wrong.problem == (401, "unauthorized")
            samples = await scrape(server, Authorization=f"Bearer {TOKEN}")
            assert samples["chatkit_refusals_total"]["unauthorized",] == 2
            rebound = await server.call("GET", "/metrics", Host="rebind.evil", Authorization=f"Bearer {TOKEN}")
            assert rebound.problem == (403, "forbidden")
        async with serve_in_process(host="0.0.0.0", open_grants=(parse_open("*:read,write"),)) as server:
            assert (await server.call("GET", "/metrics")).problem == (403, "forbidden")

    run(test())


def test_no_label_is_a_value_that_clients_choose() -> None:
    async def test() -> None:
        async with serve_in_process() as server:
            async with Talk.open(server, "/ws/roomname?name=sendername") as talk:
                await talk.ask(op="publish", body="x", key="keyname")
                await talk.ask(op="opname")
            await server.call("PUT", "/pathname")
            text = (await server.call("GET", "/metrics")).body.decode()
            assert all(word not in text for word in ("roomname", "sendername", "keyname", "opname", "pathname"))

    run(test())


def test_readers_that_are_behind_are_found() -> None:
    async def test() -> None:
        async with serve_in_process() as server:
            reader = await server.hub.subscribe("ops")
            for number in range(3):
                await server.hub.publish(Draft("ops", "ann", str(number)))
            samples = await scrape(server)
            assert samples["chatkit_reader_lag_messages"] == {(): 3}
            assert samples["chatkit_reader_lag_max_messages"] == {(): 3}
            assert samples["chatkit_messages_delivered_total"] == {(): 0}
            await reader.read()
            reader.close()
            samples = await scrape(server)
            assert samples["chatkit_reader_lag_max_messages"] == {(): 0}
            assert samples["chatkit_messages_delivered_total"] == {(): 3}

    run(test())


def test_a_worker_that_does_not_answer_is_shown_as_down() -> None:
    families = {family.name: family for family in text_string_to_metric_families(render({0: None, 1: None}).decode())}
    assert [(sample.labels, sample.value) for sample in families["chatkit_worker_up"].samples] == [
        ({"worker": "0"}, 0),
        ({"worker": "1"}, 0),
    ]
