"""Which names a body mentions."""

from functools import partial

import pytest
from call_count import calls_of
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core import access_records
from chatkit.core.access_records import NameHolders, encode, name_keys
from chatkit.core.access_table import AccessTable
from chatkit.core.hub import Hub
from chatkit.core.mentions import MAX_MENTIONS, MentionFinder, find_mentions
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Draft
from chatkit.core.records import Record, RecordChanges
from chatkit.core.roster import Roster

NAMES = {"ann", "release", "release-bot", "Ann Lee", "bob", "кот", "o'neil", "é"}


def known(text: str) -> str | None:
    return text if text in NAMES else None


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ("@ann", ("ann",)),
        ("hi @ann, and (@bob)!", ("ann", "bob")),
        ("@release-bot deploy", ("release-bot",)),
        ("@release deploy", ("release",)),
        ("@release-manager", ()),
        ("@release- now", ("release",)),
        ("@releases", ()),
        ("@release_x", ()),
        ("@Ann Lee is here", ("Ann Lee",)),
        ("@Ann Leeds", ()),
        ("mail ann@bob.example", ()),
        ("@ann @ann @bob", ("ann", "bob")),
        ("@кот, привет", ("кот",)),
        ("@o'neil's", ("o'neil",)),
        ("@@ann", ("ann",)),
        ("@ ann", ()),
        ("@ann\n@bob", ("ann", "bob")),
        ("@e\u0301, hi", ("é",)),  # decomposed
        ("@ann\u0301", ()),  # a mark continues the word
        ("ё@ann", ()),
        ("@ann@bob", ("ann",)),
        ("nobody", ()),
        ("@", ()),
        ("", ()),
    ],
)
def test_the_longest_known_name_after_an_at_sign_is_mentioned(body: str, mentions: tuple[str, ...]) -> None:
    assert find_mentions(body, known) == mentions


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("@" * 65_536, 32),
        ("@a" * 32_768, 16),
        ("@-" * 32_768, 32),
        ("@ann " * 13_000, 32),
        ("@" + "." * 65_535, 32),
        ("a@" * 32_768, 0),
        ("".join(f"@.{n}" for n in range(10_000)), MAX_MENTIONS * 32),
    ],
)
def test_the_work_for_a_hostile_body_is_bounded(body: str, limit: int) -> None:
    n_asked = 0

    def count(_text: str) -> None:
        nonlocal n_asked
        n_asked += 1

    find_mentions(body, count)
    assert n_asked <= limit


def room_of(n_members: int) -> Roster:
    roster = Roster()
    for name in ["a", *(f"member {n}" for n in range(1, n_members))]:
        roster.enter("ops", name, 0)
    return roster


def name_records(name: str) -> list[Record]:
    return [Record(access_records.NAME, key, encode(NameHolders(name, ("t1",))), 1) for key in name_keys(name)]


def table_of(*names: str) -> AccessTable:
    table = AccessTable()
    records = [record for name in names for record in name_records(name)]
    table.apply(RecordChanges(Cursor("e", 1), records, whole=True))
    return table


@pytest.mark.parametrize("body", ["@" * 65_536, "@a" * 32_768, "@@17 and more", "é" + "@" * 65_535])
def test_the_work_grows_with_neither_the_members_nor_the_tokens(body: str) -> None:
    draft = Draft("ops", "ann", body)
    for table in (table_of(), table_of(*(f"token {n}" for n in range(10_000)))):
        for roster in (room_of(n) for n in (1, 32, 33, 10_000)):
            finder = MentionFinder(table, roster)
            assert calls_of(partial(finder.add_to_all, (draft,))) <= 500


@pytest.mark.parametrize("n_members", [0, 1, 32, 33])
@pytest.mark.parametrize(
    ("held", "text"),
    [
        ("ann", "ANN"),
        ("Ann Lee", "ann lee"),
        ("éric", "ÉRIC"),
        ("éric", "E\u0301ric"),  # decomposed
        ("Straße", "STRASSE"),
        ("straße", "STRAẞE"),
        ("ß", "ẞ"),
        ("κοσμος", "ΚΟΣΜΟΣ"),
        ("ǆ", "ǅ"),  # a letter with a third case, that of titles
    ],
)
def test_a_name_of_a_token_is_mentioned_in_any_case(held: str, text: str, n_members: int) -> None:
    draft = Draft("ops", "bob", f"ask @{text}, please")
    assert MentionFinder(table_of(held), room_of(n_members)).add_to_all((draft,))[0].mentions == (held,)


def test_a_name_is_mentioned_from_when_it_comes_until_it_goes() -> None:
    table, roster = table_of(), Roster()
    finder = MentionFinder(table, roster)
    draft = Draft("ops", "bob", "@Zoe and @yan")
    found = [finder.add_to_all((draft,))[0].mentions]
    for change in (
        lambda: table.apply(RecordChanges(Cursor("e", 2), name_records("zoe"))),
        lambda: roster.enter("ops", "yan", 0),
        lambda: table.apply(RecordChanges(Cursor("e", 3), [], whole=True)),
        lambda: roster.leave("ops", "yan"),
    ):
        change()
        found.append(finder.add_to_all((draft,))[0].mentions)
    assert found == [(), ("zoe",), ("zoe", "yan"), ("yan",), ()]


def test_only_texts_and_edits_mention() -> None:
    drafts = [
        *(Draft("ops", "bob", "@a", of=1, act=act) for act in (None, *Act)),
        Draft(".audit", "bob", "@a"),
    ]
    finder = MentionFinder(table_of("a"), room_of(1))
    mentioning = [draft.act for draft in drafts if finder.add_to_all((draft,))[0].mentions]
    assert mentioning == [None, Act.EDIT]


def test_a_hub_stores_whom_a_message_mentions() -> None:
    async def go() -> list[tuple[str, ...]]:
        async with MemoryBackend() as backend, Hub(backend) as hub:
            reader = await hub.subscribe("ops", member="cat")
            with reader:
                receipts = [
                    await hub.publish(Draft("ops", "ann", body)) for body in ("hi @cat", "hi @Cat", "@dan", "no one")
                ]
            return [receipt.message.mentions for receipt in receipts]

    assert run(go()) == [("cat",), (), (), ()]
