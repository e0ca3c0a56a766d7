"""Texts of strangers: nothing is lost, nothing hides."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.query import parse
from g3m.ui.web.texts import LONG, SHORT, Piece, pieces, plain, told

ANY = st.text(st.characters(), max_size=300)


def _restored(found: tuple[Piece, ...]) -> str:
    return "".join(
        chr(int("0x" + piece.text[2:], 0)) if piece.kind == "mark" else piece.text for piece in found
    )


@given(ANY)
def test_the_pieces_are_the_text(text: str) -> None:
    """Nothing is added or taken away; a mark stands for one character."""
    assert _restored(pieces(text)) == text


@given(ANY, st.sampled_from(["bus", "a*", "公", "b OR c"]))
def test_the_pieces_are_the_text_with_hits_too(text: str, asked: str) -> None:
    """Neither does searching change what is shown."""
    assert _restored(pieces(text, parse(asked))) == text


@given(ANY)
def test_nothing_that_cannot_be_seen_is_left(text: str) -> None:
    """No control character, no turning of lines, no half character gets to the page, and UTF-8 can write all."""
    shown = plain(text)
    shown.encode()
    left = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}}
    assert left <= set("\t\n\u200c\u200d")


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\u202e", "right-to-left override"),
        ("\u2066", "left-to-right isolate"),
        ("\ufeff", "zero width no-break space"),
        ("\u00ad", "soft hyphen"),
        ("\u2028", "line separator"),
        ("\x00", ""),
        ("\x1b", ""),
        ("\x85", ""),
        ("\ud800", ""),
        ("\U000e0041", "tag latin capital letter a"),
    ],
)
def test_what_hides_is_named(character: str, name: str) -> None:
    """Each stands there by its number, and its name where it has one."""
    assert pieces(f"a{character}b") == (
        Piece("a"),
        Piece(f"U+{ord(character):04X}", "mark", name),
        Piece("b"),
    )


@pytest.mark.parametrize(
    "text", ["a family 👨\u200d👩\u200d👧", "می\u200cخواهم", "两只 猫", "two\nlines\tapart", "naïve"]
)
def test_what_people_write_stays_whole(text: str) -> None:
    """Joiners of emoji and of Persian are no attack."""
    assert pieces(text) == (Piece(text),)


def test_hits_are_marked() -> None:
    """What was searched for is a piece of its own."""
    assert [(piece.text, piece.kind) for piece in pieces("A red BUS.", parse("bus"))] == [
        ("A red ", ""),
        ("BUS", "hit"),
        (".", ""),
    ]


def test_a_short_text_is_not_folded() -> None:
    """There is nothing to unfold where all is seen."""
    assert told("x" * SHORT).rest == ()


@given(st.integers(SHORT + 1, 3 * LONG))
def test_a_long_text_is_folded_and_counted(letters: int) -> None:
    """What is seen, what unfolds and what is in neither make up the text."""
    text = ("word " * letters)[:letters]
    found = told(text)
    head, rest = _restored(found.head), _restored(found.rest)
    assert (head + rest) == text[: len(head + rest)]
    assert len(head + rest) + found.left_out == letters
    assert len(head) <= SHORT and len(head + rest) <= LONG
