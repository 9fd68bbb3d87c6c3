"""Ranges of names agree with the patterns of grants, and a page of rooms reads no others."""

from faulty_backend import Faults
from harness import run
from hypothesis import given
from hypothesis import strategies as st

from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import Grant, Identity, Right
from chatkit.core.model import Draft
from chatkit.core.name_range import EVERY_NAME, NameRange, merge, names_with, range_of
from chatkit.core.room_pages import read_room_page

NAMES = st.text("ab-\u00e4\U0001f600", min_size=1, max_size=4)
PATTERNS = st.one_of(NAMES, NAMES.map("{}*".format), st.just("*"))


@given(patterns=st.lists(PATTERNS, max_size=6), names=st.lists(NAMES, max_size=20))
def test_the_readable_names_are_those_that_the_grants_match(patterns: list[str], names: list[str]) -> None:
    identity = Identity("ann", grants=tuple(Grant(pattern, (Right.READ,)) for pattern in patterns))
    within = identity.readable_names()
    for name in names:
        assert sum(part.includes(name) for part in within) == identity.has(Right.READ, name)
    assert list(within) == sorted(within, key=lambda part: part.start)
    assert merge(within) == within


@given(first=st.tuples(NAMES, st.none() | NAMES), second=st.tuples(NAMES, st.none() | NAMES), names=st.lists(NAMES))
def test_the_overlap_has_the_names_of_both(
    first: tuple[str, str | None], second: tuple[str, str | None], names: list[str]
) -> None:
    ranges = [NameRange(*each) for each in (first, second)]
    overlap = ranges[0].overlap(ranges[1])
    for name in names:
        is_in_both = all(part.includes(name) for part in ranges)
        assert is_in_both == (overlap is not None and overlap.includes(name))


def test_a_right_to_write_makes_no_name_readable() -> None:
    grants = (Grant("a", (Right.WRITE,)), Grant("b*", (Right.MODERATE,)))
    assert Identity("ann", grants=grants).readable_names() == (names_with("b"),)
    assert Identity("ann", grants=(*grants, Grant("*", (Right.READ,)))).readable_names() == (EVERY_NAME,)


@given(
    rooms=st.sets(NAMES, max_size=30),
    patterns=st.lists(PATTERNS, max_size=4),
    limit=st.integers(1, 5),
    start=st.just("") | NAMES,
)
def test_pages_have_each_room_of_the_ranges_once(rooms: set[str], patterns: list[str], limit: int, start: str) -> None:
    async def main() -> None:
        backend = Faults()
        assert isinstance(backend.inner, MemoryBackend)
        await backend.inner.append([Draft(room, "ann", "hi") for room in rooms])
        within = merge(range_of(pattern) for pattern in patterns)
        wanted = sorted(room for room in rooms if room >= start and any(part.includes(room) for part in within))
        found: list[str] = []
        at: str | None = start
        while at is not None:
            page = await read_room_page(backend, within, at, limit)
            assert len(page.infos) <= limit
            found += [info.room for info in page.infos]
            at = page.following
        assert found == wanted
        assert backend.calls["rooms"] <= len(within) + len(wanted)

    run(main())
