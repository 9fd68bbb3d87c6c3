"""The roster: entering, leaving, members of other processes, and reported changes."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member
from chatkit.core.roster import Roster


def names(roster: Roster, room: str = "ops") -> list[str]:
    return [member.name for member in roster.members(room, 100)]


def changes(roster: Roster) -> list[tuple[str, list[str], list[str], int]]:
    return [(change.room, change.joined, change.left, change.count) for change in roster.pop_changes()]


def test_a_name_that_entered_twice_is_present_until_both_entries_left() -> None:
    roster = Roster()
    roster.enter("ops", "ann", 5)
    roster.enter("ops", "ann", 9)
    assert roster.members("ops", 10) == [Member("ann", 5)]
    roster.leave("ops", "ann")
    assert roster.count("ops") == 1
    roster.leave("ops", "ann")
    assert (roster.count("ops"), names(roster)) == (0, [])


def test_a_member_is_marked_as_its_last_entry_here_or_as_in_any_other_process() -> None:
    roster = Roster()
    roster.enter("ops", "ann", 5, (True, False))
    roster.enter("ops", "bob", 5)
    roster.apply_remote(PresenceChange("p", [("ops", Member("bot", 3, verified=True, bot=True))], whole=True))
    marked = [Member("bot", 3, verified=True, bot=True), Member("ann", 5, verified=True), Member("bob", 5)]
    assert roster.members("ops", 10) == marked
    (change,) = roster.pop_changes()
    assert (change.verified, change.bots) == (["ann", "bot"], ["bot"])
    assert ("ops", Member("ann", 5, verified=True)) in roster.announcements()[0]
    roster.announced()
    roster.enter("ops", "bob", 7, (True, False))  # the name was given a token since
    assert roster.announcements() == ([("ops", Member("bob", 5, verified=True))], [])
    roster.apply_remote(PresenceChange("q", [("ops", Member("ann", 1, bot=True)), ("ops", Member("bot", 9))]))
    assert roster.members("ops", 1) == [Member("ann", 1, verified=True, bot=True)]
    roster.apply_remote(PresenceChange("p", whole=True))
    assert Member("bot", 9) in roster.members("ops", 10)


def test_changes_that_cancel_out_are_not_reported() -> None:
    roster = Roster()
    roster.enter("ops", "ann", 1)
    roster.enter("ops", "bob", 1)
    roster.leave("ops", "bob")
    assert changes(roster) == [("ops", ["ann"], [], 1)]
    roster.leave("ops", "ann")
    assert roster.has_changes
    roster.enter("ops", "ann", 2)
    assert changes(roster) == []
    roster.leave("ops", "ann")
    assert changes(roster) == [("ops", [], ["ann"], 0)]


def test_members_are_listed_by_time_of_joining_up_to_the_limit() -> None:
    roster = Roster()
    for since, name in ((3, "cat"), (1, "bob"), (2, "ann"), (1, "abe")):
        roster.enter("ops", name, since)
    assert names(roster) == ["abe", "bob", "ann", "cat"]
    assert len(roster.members("ops", 2)) == 2
    assert roster.count("ops") == 4


def test_members_of_other_processes_are_listed_beside_local_ones() -> None:
    roster = Roster()
    roster.enter("ops", "ann", 5)
    roster.apply_remote(PresenceChange("other", [("ops", Member("ann", 3)), ("ops", Member("bob", 4))], whole=True))
    assert roster.members("ops", 10) == [Member("ann", 3), Member("bob", 4)]
    roster.pop_changes()
    roster.leave("ops", "ann")
    assert changes(roster) == []
    roster.apply_remote(PresenceChange("other", left=[("ops", "ann")]))
    assert changes(roster) == [("ops", [], ["ann"], 1)]
    roster.apply_remote(PresenceChange("other", whole=True))
    assert changes(roster) == [("ops", [], ["bob"], 0)]


def test_a_member_of_several_processes_joins_with_the_first_and_leaves_with_the_last() -> None:
    for first, second in ((3, 4), (4, 3)):
        roster = Roster()
        roster.apply_remote(PresenceChange("one", [("ops", Member("ann", first))], whole=True))
        roster.apply_remote(PresenceChange("two", [("ops", Member("ann", second))], whole=True))
        assert roster.members("ops", 10) == [Member("ann", 3)]
        roster.apply_remote(PresenceChange("one", left=[("ops", "ann")]))
        assert roster.members("ops", 10) == [Member("ann", second)]
        roster.apply_remote(PresenceChange("two", [("ops", Member("ann", 9))]))  # it moved there and back
        assert roster.members("ops", 10) == [Member("ann", 9)]
        roster.apply_remote(PresenceChange("two", left=[("ops", "ann")]))
        assert (names(roster), roster._remote) == ([], {})


def test_a_member_that_moves_to_another_process_does_not_leave() -> None:
    roster = Roster()
    roster.apply_remote(PresenceChange("one", [("ops", Member("ann", 3))], whole=True))
    roster.pop_changes()
    roster.apply_remote(PresenceChange("one", whole=True))
    roster.apply_remote(PresenceChange("two", [("ops", Member("ann", 5))], whole=True))
    assert changes(roster) == []
    assert roster.members("ops", 10) == [Member("ann", 5)]


def test_announcements_are_kept_until_they_were_delivered() -> None:
    roster = Roster()
    assert not roster.has_announcements
    roster.enter("ops", "ann", 1)
    first = roster.announcements()
    assert first == ([("ops", Member("ann", 1))], [])
    roster.enter("ops", "bob", 2)
    roster.leave("ops", "ann")  # while the announcement failed
    assert roster.announcements() == ([("ops", Member("bob", 2))], [("ops", Member("ann", 0))])
    roster.announced()
    assert not roster.has_announcements
    roster.announce_all()
    assert roster.announcements() == ([("ops", Member("bob", 2))], [])


def test_leaving_during_an_announcement_is_announced_next() -> None:
    roster = Roster()
    roster.enter("ops", "ann", 1)
    roster.announcements()
    roster.leave("ops", "ann")
    roster.announced()
    assert roster.announcements() == ([], [("ops", Member("ann", 0))])


def test_without_other_processes_no_announcements_are_kept() -> None:
    roster = Roster(is_shared=False)
    for n in range(100):
        roster.enter(f"room{n}", "ann", 1)
        roster.leave(f"room{n}", "ann")
    roster.announce_all()
    assert not roster.has_announcements
    assert not any(vars(roster)[name] for name in ("_rooms", "_unreported", "_unannounced", "_announcing"))


places = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["ann", "bob", "cat"])), unique=True)
steps = st.lists(
    st.tuples(st.just("enter") | st.just("leave"), st.sampled_from("ab"), st.sampled_from(["ann", "bob"]))
    | st.tuples(st.just("whole"), st.sampled_from(["one", "two"]), places)
    | st.tuples(st.just("changes"), st.sampled_from(["one", "two"]), places, places)
    | st.tuples(st.just("report")),
    max_size=40,
)


@given(steps)
def test_reported_changes_add_up_to_the_members_of_all_processes(script: list[tuple[object, ...]]) -> None:
    roster = Roster()
    here: Counter[tuple[str, str]] = Counter()
    elsewhere: dict[str, set[tuple[str, str]]] = {"one": set(), "two": set()}
    reported: set[tuple[str, str]] = set()
    for step in [*script, ("report",)]:
        match step:
            case ("enter", str(room), str(name)):
                roster.enter(room, name, 1)
                here[room, name] += 1
            case ("leave", str(room), str(name)) if here[room, name]:
                roster.leave(room, name)
                here[room, name] -= 1
            case ("whole", str(process), list(there)):
                elsewhere[process] = set(there)
                roster.apply_remote(
                    PresenceChange(process, [(room, Member(name, 2)) for room, name in there], whole=True)
                )
            case ("changes", str(process), list(came), list(went)):
                gone = [place for place in went if place not in came]
                elsewhere[process] = elsewhere[process].union(came).difference(gone)
                roster.apply_remote(PresenceChange(process, [(room, Member(name, 3)) for room, name in came], gone))
            case ("report",):
                for change in roster.pop_changes():
                    joined = {(change.room, name) for name in change.joined}
                    left = {(change.room, name) for name in change.left}
                    assert not joined & reported
                    assert left <= reported
                    reported = (reported | joined) - left
                    assert change.count == sum(room == change.room for room, _ in reported)
        present = {pair for pair in here if here[pair]}.union(*elsewhere.values())
        assert {(room, name) for room in "ab" for name in names(roster, room)} == present
    assert reported == present
    assert set(roster._rooms) == {room for room, _ in present}


operations = st.lists(
    st.tuples(
        st.sampled_from(["enter", "marked", "leave", "remote", "remote leave", "remote gone"]), st.sampled_from("abcd")
    )
)


@given(operations)
def test_a_list_that_is_kept_is_the_one_that_would_be_made_now(steps: list[tuple[str, str]]) -> None:
    asked, fresh, entered = Roster(), Roster(), Counter[str]()
    for now_ms, (step, name) in enumerate(steps):
        if step == "leave" and not entered[name]:
            continue
        entered[name] += {"enter": 1, "marked": 1, "leave": -1}.get(step, 0)
        for roster in asked, fresh:
            apply(roster, step, name, now_ms)
        assert asked.encoded_members("ops", 2, encode) == encode(asked.members("ops", 2))
    assert asked.members("ops", 2) == fresh.members("ops", 2)


def apply(roster: Roster, step: str, name: str, now_ms: int) -> None:
    match step:
        case "enter" | "marked":
            roster.enter("ops", name, now_ms, (step == "marked", False))
        case "leave":
            roster.leave("ops", name)
        case "remote":
            roster.apply_remote(PresenceChange("p", joined=[("ops", Member(name, now_ms))]))
        case "remote leave":
            roster.apply_remote(PresenceChange("p", left=[("ops", name)]))
        case _:
            roster.apply_remote(PresenceChange("p", whole=True))


def encode(members: Sequence[Member]) -> bytes:
    return repr(members).encode()


def test_the_list_of_a_large_room_is_encoded_once_until_a_member_in_it_changes() -> None:
    roster, made = Roster(), list[bytes]()

    def encode_once(members: Sequence[Member]) -> bytes:
        made.append(encode(members))
        return made[-1]

    for name in "abcd":
        roster.enter("ops", name, 1)
        roster.encoded_members("ops", 2, encode_once)
    assert len(made) == 2  # `a` alone, then `a` and `b`, whatever joins after them
    roster.leave("ops", "d")
    roster.encoded_members("ops", 2, encode_once)
    assert len(made) == 2
    roster.leave("ops", "a")
    assert roster.encoded_members("ops", 2, encode_once) == encode([Member("b", 1), Member("c", 1)])
