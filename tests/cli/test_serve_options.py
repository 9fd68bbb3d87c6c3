"""The options of `chatkit serve` about access, without a server."""

import pytest

from chatkit.cli.config import read_defaults
from chatkit.cli.config_file import ConfigFile
from chatkit.cli.serve import _open_grants, with_open_values
from chatkit.core.access import Grant, Right
from chatkit.errors import BadRequest

READ_WRITE = Grant("*", (Right.READ, Right.WRITE))


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ([], []),
        (["--open"], ["--open=*:read,write"]),
        (["--open", "--port", "1"], ["--open=*:read,write", "--port", "1"]),
        (["--open", "news*:read"], ["--open", "news*:read"]),
        (["--open=a:read", "--open"], ["--open=a:read", "--open=*:read,write"]),
        (["--open", "a:read", "--open", "b:write"], ["--open", "a:read", "--open", "b:write"]),
        (["--", "--open"], ["--", "--open"]),
    ],
)
def test_open_may_have_a_value(given: list[str], parsed: list[str]) -> None:
    assert with_open_values(given) == parsed


@pytest.mark.parametrize(
    ("values", "grants"),
    [
        ((), ()),
        (("1",), (READ_WRITE,)),
        (("True",), (READ_WRITE,)),
        (("0",), ()),
        (("false",), ()),
        (("*:read,write",), (READ_WRITE,)),
        (("news*:read", "ops:write"), (Grant("news*", (Right.READ,)), Grant("ops", (Right.WRITE,)))),
    ],
)
def test_open_gives_grants(values: tuple[str, ...], grants: tuple[Grant, ...]) -> None:
    assert _open_grants(values) == grants


@pytest.mark.parametrize("value", ["news", "news:", "news:see", ":read", "a b:read", "news:read,admn"])
def test_an_invalid_grant_is_refused(value: str) -> None:
    with pytest.raises(BadRequest):
        _open_grants([value])


@pytest.mark.parametrize(
    ("toml", "value"),
    [
        ("open = true", ["True"]),
        ("open = false", ["False"]),
        ('open = "a:read"', ["a:read"]),
        ('open = ["x:read"]', ["x:read"]),
    ],
)
def test_open_can_be_set_in_the_file(tmp_path: object, toml: str, value: list[str]) -> None:
    file = ConfigFile(path=tmp_path, data=f"[serve]\n{toml}\n".encode(), is_in_current_folder=True)  # type: ignore[arg-type]
    assert read_defaults(file, {"open": "open_"})["serve"]["open_"] == value
