"""Long lists are made in pieces, and cost the garbage collector nothing."""

import gc

import msgspec
import pytest

from chatkit.core import access_records
from chatkit.core.access import Grant, Right
from chatkit.core.records import Record
from chatkit.core.token import Token, TokenKind
from chatkit.server.long_answer import ENCODED_AT_ONCE, encode_list
from chatkit.wire.access import TokenList, TokenView
from chatkit.wire.protocol import encode

GRANTS = (Grant("*", (Right.READ, Right.WRITE)),)


def make_token(number: int) -> Token:
    return Token(f"id{number}", f"näme{number}", TokenKind.PERSON, GRANTS, "0" * 64, number, "ann")


@pytest.mark.parametrize("n_tokens", [0, 1, ENCODED_AT_ONCE, ENCODED_AT_ONCE + 1, 3 * ENCODED_AT_ONCE])
def test_pieces_make_the_same_json_as_the_whole_list(n_tokens: int) -> None:
    tokens = [make_token(number) for number in range(n_tokens)]
    assert encode_list("tokens", tokens, TokenView.of) == encode(TokenList([TokenView.of(token) for token in tokens]))


def test_the_views_of_a_piece_are_released_before_the_next_is_made() -> None:
    n_alive = n_most = 0

    class View(msgspec.Struct):
        number: int

        def __del__(self) -> None:
            nonlocal n_alive
            n_alive -= 1

    def view(number: int) -> View:
        nonlocal n_alive, n_most
        n_alive += 1
        n_most = max(n_most, n_alive)
        return View(number)

    encode_list("numbers", range(1_000), view)
    assert n_most <= 2 * ENCODED_AT_ONCE


def test_the_garbage_collector_need_not_walk_tokens_and_records() -> None:
    record = Record(access_records.TOKEN, "id1", access_records.encode(make_token(1)), 1)
    token = access_records.decode(record, Token)
    assert token is not None
    assert not any(map(gc.is_tracked, [record, token, token.grants[0], TokenView.of(token)]))
