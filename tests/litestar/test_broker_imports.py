"""How the Redis and PostgreSQL classes are imported: Litestar's signatures, and drivers on first use."""

import inspect
import json
import subprocess
import sys
from typing import Any

import pytest
from litestar.channels import ChannelsBackend
from litestar.channels.backends import asyncpg as asyncpg_reference
from litestar.channels.backends import redis as redis_reference

import chatkit.litestar as toolkit

NAMES = ["RedisChannelsStreamBackend", "RedisChannelsPubSubBackend", "AsyncPgChannelsBackend", "PsycoPgChannelsBackend"]
DRIVERS = {name: "redis" if "Redis" in name else "asyncpg" for name in NAMES}

# Runs each piece of code in a process of its own, in which nothing but chatkit.litestar was imported.
IN_FORKS = """
import json, os, sys
import chatkit.litestar
for code in json.loads(sys.argv[1]):
    if not os.fork():
        exec(code)
        sys.exit()
    assert os.wait()[1] == 0
    print(end="\\0", flush=True)
"""
LOADED = "print(*[name for name in ('redis', 'asyncpg') if name in sys.modules])"
WITHOUT_DRIVER = """
sys.modules[{driver!r}] = None  # as if it were not installed
try:
    from chatkit.litestar import {name}
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each piece of code prints: those of the tests run in forks of one interpreter, which imports once."""
    codes = [LOADED, *(f"from chatkit.litestar import {name}; {LOADED}" for name in NAMES)]
    codes += [WITHOUT_DRIVER.format(driver=driver, name=name) for name, driver in DRIVERS.items()]
    command = [sys.executable, "-c", IN_FORKS, json.dumps(codes)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return {code: output.strip() for code, output in zip(codes, found[:-1], strict=True)}


@pytest.mark.parametrize("name", NAMES)
def test_the_signatures_are_those_of_litestar(name: str) -> None:
    reference: Any = getattr(redis_reference, name, None) or getattr(asyncpg_reference, name, None)
    known = ["self", "pg_dsn"] if reference is None else list(inspect.signature(reference.__init__).parameters)
    ours = inspect.signature(getattr(toolkit, name).__init__).parameters
    assert list(ours)[: len(known)] == known
    if reference is not None:
        theirs = inspect.signature(reference.__init__).parameters
        assert all(ours[each].kind == theirs[each].kind for each in theirs)
        defaults = {each: (ours[each].default, theirs[each].default) for each in theirs if each != "stream_ttl"}
        assert all(one == other for one, other in defaults.values())
    assert issubclass(getattr(toolkit, name), ChannelsBackend)
    assert name in dir(toolkit)


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_is_imported_on_first_use(printed: dict[str, str], name: str) -> None:
    assert printed[LOADED] == ""
    assert printed[f"from chatkit.litestar import {name}; {LOADED}"] == DRIVERS[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_error_for_a_missing_driver_contains_the_command_that_installs_it(
    printed: dict[str, str], name: str
) -> None:
    driver, command = ("redis", "pip install redis") if "Redis" in name else ("asyncpg", "'chatkit[postgres]'")
    sentence = printed[WITHOUT_DRIVER.format(driver=driver, name=name)]
    assert f"{name} needs a driver that is not installed: pip install" in sentence
    assert command in sentence
