"""The files of `examples/deploy` work as docs/scaling.md describes: real servers with their settings, behind nginx."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # Litestar brings it, without types
from gateway import Gateway, gateway
from raw_client import Talk, eventually, health, run
from serving import ServerProcess, clean_environment, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from worker_group import WorkerGroup

from chatkit.backends import open_backend

TREE = Path(__file__).parents[2]
DEPLOY = TREE / "examples/deploy"
SECRET = "a-secret-of-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {SECRET}"}


def settings() -> dict[str, str]:
    """Read what the units read, with a secret of one's own."""
    given = re.findall(r"^(CHATKIT_\w+)=(.*)$", (DEPLOY / "chatkit.env").read_text(), re.MULTILINE)
    return {**dict(given), "CHATKIT_SECRET": SECRET}


class Site:
    """Two servers on one store, and nginx before them."""

    def __init__(self, way_in: Gateway, servers: list[ServerProcess]) -> None:
        self.way_in = way_in
        self.servers = servers

    def talk(self, path: str, **options: Any) -> Any:
        return Talk.open(self.way_in, path, **{"additional_headers": AUTHORIZED, **self.way_in.options, **options})

    def publish(self, room: str, body: str) -> int:
        return self.way_in.call("POST", f"/rooms/{room}/messages", body, **AUTHORIZED).status

    @property
    def connections(self) -> list[int]:
        return [health(server, **AUTHORIZED)["connections"] for server in self.servers]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(folder / "rooms.db", env=settings())) for _ in range(2)]
        ports = [server.port for server in servers]
        yield Site(stack.enter_context(gateway(folder / "nginx", ports)), servers)


# nginx


def test_nginx_passes_the_page_publishing_and_reading(site: Site) -> None:
    page = site.way_in.call("GET", "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert site.publish("calls", "hello") == 201
    read = site.way_in.call("GET", "/rooms/calls/messages", **AUTHORIZED)
    assert [message["body"] for message in read.json["messages"]] == ["hello"]


def test_nginx_passes_websockets_of_the_sites_own_pages(site: Site) -> None:
    async def main() -> None:
        async with site.talk("/ws/sockets?name=ann") as ann, site.talk("/ws/sockets?name=bob") as bob:
            await bob.until("joined")
            assert (await ann.ask(op="publish", body="hi"))["type"] == "ack"
            assert await bob.bodies(1) == ["hi"]

    run(main())


def test_nginx_passes_events_one_by_one(site: Site) -> None:
    token = f"Authorization: Bearer {SECRET}"
    with site.way_in.stream("/rooms/events/events?history=0", token) as lines:
        assert lines.next() == "retry: 1000"  # though nothing has happened yet
        events = lines.events()
        next(events)
        for body in ("one", "two"):
            assert site.publish("events", body) == 201
            assert json.loads(next(events)["data"])["body"] == body


def test_nginx_passes_json_lines_one_by_one(site: Site) -> None:
    headers = (f"Authorization: Bearer {SECRET}", "Accept: application/x-ndjson")
    assert site.publish("lines", "one") == 201
    with site.way_in.stream("/rooms/lines/events?history=1", *headers) as lines:
        assert json.loads(lines.next())["type"] == "ping"
        assert json.loads(lines.next())["body"] == "one"
        assert site.publish("lines", "two") == 201
        assert json.loads(lines.next())["body"] == "two"


def test_requests_without_token_are_rejected_although_they_come_from_the_loopback_address(site: Site) -> None:
    assert site.way_in.call("POST", "/rooms/kept/messages", "hello").problem == (401, "unauthorized")

    async def main() -> None:
        async with site.talk("/ws/kept", additional_headers={}) as talk:
            with pytest.raises(ConnectionClosed) as closed:
                await talk.until("joined")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401

    run(main())


def test_other_origins_and_other_host_names_are_rejected(site: Site) -> None:
    async def main() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with site.talk("/ws/kept", origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403

    run(main())
    assert site.way_in.call("GET", "/rooms", Host="evil.example", **AUTHORIZED).problem == (403, "forbidden")


def test_the_log_holds_no_token(site: Site) -> None:
    assert site.way_in.call("GET", f"/rooms/logged/messages?token={SECRET}").status == 200
    eventually(lambda: "/rooms/logged/messages" in site.way_in.log.read_text())
    assert SECRET not in site.way_in.log.read_text()


def test_connections_go_to_the_server_with_the_fewest(site: Site) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(6):
                talk = await stack.enter_async_context(site.talk("/ws/spread"))
                await talk.until("joined")
            assert site.connections == [3, 3]

    eventually(lambda: site.connections == [0, 0])
    run(main())


def test_readers_of_a_stopped_server_resume_at_the_other_one(site: Site) -> None:
    async def main() -> None:
        async with site.talk("/ws/moving?history=0") as talk:
            joined = await talk.until("joined")
            ending = site.servers[site.connections.index(1)]
            assert site.publish("moving", "one") == 201
            assert await talk.bodies(1) == ["one"]
            assert ending.stop() == 0
            with pytest.raises(ConnectionClosed) as closed:
                await talk.until("message")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert [site.publish("moving", body) for body in ("two", "three")] == [201, 201]
        epoch = joined["cursor"].partition(":")[0]
        async with site.talk(f"/ws/moving?after={epoch}:1") as talk:
            assert await talk.bodies(2) == ["two", "three"]
        ending.start()

    eventually(lambda: site.connections == [0, 0])
    run(main())
    eventually(lambda: both_are_used(site))  # by and by: nginx leaves out for 2 s who was not there


def both_are_used(site: Site) -> bool:
    async def main() -> bool:
        async with site.talk("/ws/both") as first, site.talk("/ws/both") as second:
            await first.until("joined")
            await second.until("joined")
            return site.connections == [1, 1]

    return bool(run(main()))


# systemd


def unit(name: str) -> dict[str, str]:
    """Read a unit's options; each stands there once."""
    pairs = re.findall(r"^(\w+)=(.*)$", (DEPLOY / name).read_text(), re.MULTILINE)
    options = dict(pairs)
    assert len(options) == len(pairs)
    return options


def command(name: str) -> list[str]:
    """Return the options with which a unit starts a server, without the port."""
    program, serving, port, number, *options = unit(name)["ExecStart"].split()
    assert (program, serving, port) == ("/opt/chatkit/bin/chatkit", "serve", "--port")
    assert number == "8000" or name.endswith("@.service")
    return options


def test_the_shipped_settings_require_a_token_which_the_first_start_writes_to_a_private_file(tmp_path: Path) -> None:
    shipped = dict(re.findall(r"^(CHATKIT_\w+)=(.*)$", (DEPLOY / "chatkit.env").read_text(), re.MULTILINE))
    with serve("sqlite://", folder=tmp_path, env={**shipped, "XDG_DATA_HOME": str(tmp_path)}) as server:
        (file,) = (tmp_path / "chatkit").glob("token-*")
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert health(server, Authorization=f"Bearer {file.read_text().strip()}")["connections"] >= 0
        assert "rooms" not in health(server)


def test_the_unit_starts_workers_and_its_reload_replaces_them(tmp_path: Path) -> None:
    options = unit("chatkit.service")
    assert options["ExecReload"] == "/bin/kill -HUP $MAINPID"
    place = {"XDG_DATA_HOME": str(tmp_path)}  # which is systemd's own folder for state there
    assert options["Environment"] == "XDG_DATA_HOME=%S"
    with serve("sqlite://", *command("chatkit.service"), folder=tmp_path, env=settings() | place) as server:
        serve_workers = WorkerGroup(server, AUTHORIZED)
        before = serve_workers.pids
        assert len(before) == 2
        server.signal(signal.SIGHUP)
        serve_workers.until_replaced(before)
        assert (tmp_path / options["StateDirectory"] / "rooms.db").is_file()


def test_the_unit_for_several_ports_starts_a_server_and_waits_until_it_is_ready(tmp_path: Path) -> None:
    with serve(tmp_path / "rooms.db", *command("chatkit@.service"), env=settings()) as server:
        ready = unit("chatkit@.service")["ExecStartPost"].replace("%i", str(server.port))
        assert ready.rpartition(" ")[2] == f"{server.url}/health"
        assert health(server)["status"] == "ok"


# compose


@pytest.mark.parametrize("name", ["compose.redis.yaml", "compose.postgres.yaml"])
def test_a_composition_names_only_existing_files_and_settings(name: str) -> None:
    composed = yaml.safe_load((DEPLOY / name).read_text())
    services = composed["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in composed["volumes"] or (DEPLOY / source).is_file(), volume
        assert "image" in service
    servers = [service for service in services.values() if "CHATKIT_BACKEND" in service.get("environment", {})]
    assert services["caddy"]["environment"]["CHATKIT_SERVERS"].split() == [
        f"{server}:8000" for server in services if services[server] in servers
    ]
    known = set(re.findall(r"CHATKIT_\w+", help_of_serve()))
    for server in servers:
        assert set(server["environment"]) <= known
        open_backend(without_variables(server["environment"]["CHATKIT_BACKEND"]))
        (store,) = server["depends_on"]
        assert "healthcheck" in services[store]  # which is what a server waits for
        context = (DEPLOY / server["build"]["context"]).resolve()
        (network,) = composed["networks"]["default"]["ipam"]["config"]
        assert server["environment"]["CHATKIT_TRUST_PROXY"] == network["subnet"]  # Caddy has an address in it
        assert (context / server["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def without_variables(text: str) -> str:
    """Put something in the place of what compose takes from the environment."""
    return re.sub(r"\$\{\w+[^}]*\}", "given", text)


def help_of_serve() -> str:
    words = [sys.executable, "-m", "chatkit.cli", "serve", "--help"]
    env = clean_environment({"COLUMNS": "200"})
    return subprocess.run(words, capture_output=True, text=True, env=env, check=True).stdout
