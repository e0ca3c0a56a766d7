"""The language of searching: any text is safe, and what FTS5 finds is what is marked."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from g3m.core.query import (
    MOST_CHARACTERS,
    MOST_TERMS,
    BadQuery,
    Query,
    Term,
    highlighted,
    parse,
    spaced,
)

TOKENIZER = "unicode61 remove_diacritics 2"
# Letters that meet in several forms: folded to more than one, with marks apart, wide, half-wide, composed in pieces.
LETTERS = (
    "aAbB zZ09 éÉe\u0301 ßſsSẞ İiIıi\u0307 ŉnʼ ﬁfi ǆǅ ΑαΆάςσΣ ᾳαι йЙиё 中国红色公交车 々〇 かがカガｶﾞﾊﾟパはーﾞ 고양이"
    "\u1100\u1161\u11a8ㄱ ก็กำลัง ភាសា ဗမာ हिन्दी أَأاﷺ שָׁ ½²① ㍿ ＡＢａｂ１ Ωω🐶👩\u200d🚀🇨🇳 \u00ad\u200b\u2060"
    "\x00\x01\t\n\"'“”＂*-_^:(){}[]+~|&!?.,;#%\\/ \U00020000\U0001f130 \u19b0\u19c1\u1cf2 \ue000\ufffe\U0010ffff"
)
letters = st.one_of(
    st.sampled_from(LETTERS), st.characters(exclude_categories=()), st.characters(max_codepoint=0x24FF)
)
captions = st.lists(letters, max_size=40).map("".join)
words = st.sampled_from(
    [
        "OR",
        "AND",
        "NOT",
        "-",
        '"',
        "*",
        "NEAR(",
        "caption:",
        "^",
        "a*",
        "red",
        "Red",
        "bus",
        "公交车",
        "ß",
        "é",
    ]
)
queries = st.one_of(
    captions, st.text(), st.lists(st.one_of(words, captions, letters), max_size=12).map(" ".join)
)


@contextmanager
def fts(*texts: str) -> Iterator[sqlite3.Connection]:
    """An index such as the catalog's, of some captions."""
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute(f"CREATE VIRTUAL TABLE found USING fts5(text, content='', tokenize='{TOKENIZER}')")
        rows = enumerate(map(spaced, texts), start=1)
        base.executemany("INSERT INTO found(rowid, text) VALUES (?, ?)", rows)
        yield base


def found(base: sqlite3.Connection, match: str) -> set[int]:
    """The numbers of the captions that FTS5 finds, from 1."""
    return {row for (row,) in base.execute("SELECT rowid FROM found WHERE found MATCH ?", (match,))}


def marks(text: str, *terms: Term) -> list[str]:
    """The marked pieces of a text."""
    return [piece for piece, marked in highlighted(text, Query("", terms)) if marked]


def wanted(text: str, query: Query) -> bool:
    """Whether a caption is a hit, judged by what is marked in it."""
    all_there = all(any(marks(text, term) for term in group) for group in query.groups)
    return all_there and not any(marks(text, term) for term in query.without)


@given(queries)
@example('"')
@example("a OR -b OR NOT OR *")
@example('NEAR("a" "b", 5) caption:x ^y {a b}: z + "c')
@example("\x00a\x00*")
@settings(max_examples=5 * settings.default.max_examples)
def test_any_text_is_a_query_or_is_said_to_be_none(text: str) -> None:
    """FTS5 accepts the match string of any text at all, and a text without words is refused in two languages."""
    with fts("a b c") as base:
        try:
            match = parse(text).match
        except BadQuery as problem:
            assert all(problem.both)
            return
        found(base, match)


@given(st.lists(captions, min_size=1, max_size=5), queries)
@settings(max_examples=10 * settings.default.max_examples)
def test_what_is_found_is_what_is_marked(texts: list[str], typed: str) -> None:
    """FTS5 and the marks agree on any captions and any query, term by term and as a whole."""
    try:
        query = parse(typed)
    except BadQuery:
        return
    with fts(*texts) as base:
        for term in (*query.terms, *query.without):
            marked = {number for number, text in enumerate(texts, start=1) if marks(text, term)}
            assert found(base, term.match) == marked
        hits = {number for number, text in enumerate(texts, start=1) if wanted(text, query)}
        assert found(base, query.match) == hits


@given(captions, st.integers(0, 40), st.integers(1, 12))
@settings(max_examples=5 * settings.default.max_examples)
def test_a_piece_of_a_caption_finds_it(text: str, start: int, length: int) -> None:
    """Words copied out of a caption find that caption as a phrase, and are marked in it."""
    pieces = spaced(text).lower().split()[start : start + length]
    phrase = '"' + " ".join(pieces).replace('"', " ") + '"'
    try:
        query = parse(phrase)
    except BadQuery:
        return
    with fts(text) as base:
        assert found(base, query.match) == {1}
    assert any(marked for _piece, marked in highlighted(text, query))


@given(captions, queries)
def test_the_pieces_are_the_text(text: str, typed: str) -> None:
    """What is shown is the caption itself: no letter is lost, folded or moved, and no piece is empty."""
    try:
        query = parse(typed)
    except BadQuery:
        return
    pieces = highlighted(text, query)
    assert "".join(piece for piece, _marked in pieces) == text
    assert all(piece for piece, _marked in pieces)
    kinds = [marked for _piece, marked in pieces]
    assert all(one != next_ for one, next_ in pairwise(kinds))


@given(captions)
def test_folding_is_done_once_and_for_all(text: str) -> None:
    """A folded caption is what it folds to, and can be given to SQLite whatever was in it."""
    once = spaced(text)
    assert spaced(once) == once
    once.encode()


def test_every_letter_is_one_to_fts5_as_it_is_here() -> None:
    """For every code point there is, FTS5's tokenizer cuts where the words here are cut, and folds no further."""
    texts = [f"q{chr(number)}z" for number in range(1, sys.maxunicode + 1) if not chr(number).isascii()]
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute(f"CREATE VIRTUAL TABLE found USING fts5(text, tokenize='{TOKENIZER}')")
        base.execute("CREATE VIRTUAL TABLE token USING fts5vocab(found, instance)")
        folded = {number: spaced(text) for number, text in enumerate(texts)}
        base.executemany("INSERT INTO found(rowid, text) VALUES (?, ?)", folded.items())
        seen: dict[int, list[str]] = {number: [] for number in folded}
        for number, term in base.execute("SELECT doc, term FROM token ORDER BY doc, offset"):
            seen[number].append(term)
    differ = [texts[number] for number, text in folded.items() if text.split() != seen[number]]
    assert differ == []


@pytest.mark.parametrize(
    ("typed", "match"),
    [
        ("red bus", '("red") AND ("bus")'),
        ('red "double decker" bus*', '("red") AND ("double decker") AND ("bus" *)'),
        ('"double dec*"', '("double dec" *)'),
        ('"double dec"*', '("double dec" *)'),
        ("cat OR dog bed", '("cat" OR "dog") AND ("bed")'),
        ('cat -night -"the sea"', '(("cat")) NOT ("night" OR "the sea")'),
        ("cat NOT night", '(("cat")) NOT ("night")'),
        ("cat AND dog", '("cat") AND ("dog")'),
        ("-night cat OR", '(("cat")) NOT ("night")'),
        ("cat OR -dog", '(("cat")) NOT ("dog")'),
        ("OR", '("or")'),
        ("cat or dog", '("cat") AND ("or") AND ("dog")'),
        ("it's e-mail", '("it s") AND ("e mail")'),
        ("公交车 红色bus", '("公 交 车") AND ("红 色 bus")'),
        ("公交*", '("公 交")'),
        ("고양이*", '("고 양 이")'),
        ("ガード", '("ガ ー ド")'),
        ("人々", '("人 々")'),
        ("हिन्दी שָׁלוֹם", '("हनद") AND ("שלום")'),
        ("cat OR * dog", '("cat" OR "dog")'),
        ("“double decker”", '("double decker")'),
        ('"double', '("double")'),
        ("Straße CAFÉ ﬁn m²", '("strasse") AND ("cafe") AND ("fin") AND ("m2")'),
    ],
)
def test_what_a_query_means(typed: str, match: str) -> None:
    """Words, phrases, prefixes, OR, without and scripts without blanks become what the docstring says."""
    assert parse(typed).match == match


@pytest.mark.parametrize("typed", ["", "  ", "*", '""', "-", "🐶", "-night", "NOT night", "\x00", "\ud800"])
def test_a_query_without_a_word_is_refused(typed: str) -> None:
    """What looks for nothing is refused in two languages, and so is what is only not wanted."""
    with pytest.raises(BadQuery, match="type a word") as caught:
        parse(typed)
    assert "请输入" in caught.value.both[1] or "还需输入" in caught.value.both[1]


def test_a_query_has_an_end() -> None:
    """The longest queries that are taken work in FTS5, and longer ones are refused with their length."""
    longest = ["公" * MOST_CHARACTERS, " ".join("a" * MOST_TERMS), " OR ".join(["b*"] * MOST_TERMS)]
    with fts("公" * MOST_CHARACTERS, "a", "bc") as base:
        assert [found(base, parse(typed).match) for typed in longest] == [{1}, {2}, {3}]
    with pytest.raises(BadQuery, match=f"{MOST_CHARACTERS} characters, this one has 1001"):
        parse("公" * (MOST_CHARACTERS + 1))
    with pytest.raises(BadQuery, match=f"{MOST_TERMS} words or phrases, this one has 51"):
        parse(" ".join("a" * (MOST_TERMS + 1)))


@pytest.mark.parametrize(
    ("caption", "typed", "pieces"),
    [
        ("A red bus.", "RED bus*", ["A ", "[red]", " ", "[bus]", "."]),
        ("A double-decker", '"double decker"', ["A ", "[double-decker]"]),
        ("一辆红色公交车", "公交 红", ["一辆", "[红]", "色", "[公交]", "车"]),
        ("公交车", "公 交", ["[公交]", "车"]),
        ("a b c d", '"a b c" b', ["[a b c]", " d"]),
        ("STRASSE, Straße", "straße", ["[STRASSE]", ", ", "[Straße]"]),
        ("cafe\u0301s", "café*", ["[cafe\u0301s]"]),
        ("ﬁn ½", "fin 2", ["[ﬁn]", " ", "[½]"]),
        ("ｶﾞｰﾄﾞ", "ガード", ["[ｶﾞｰﾄﾞ]"]),
        ("고양이가 있다", "고양이", ["[고양이]", "가 있다"]),
        ("\u1112\u1161\u11ab글", "한글", ["[\u1112\u1161\u11ab글]"]),
        ("a b a b a", '"a b a"', ["[a b a b a]"]),
        ("cat at night", "cat -night", ["[cat]", " at night"]),
        ("cats", "cat", ["cats"]),
        ("", "cat", []),
    ],
)
def test_what_is_marked(caption: str, typed: str, pieces: list[str]) -> None:
    """Marks cover what was found in the caption as it is written, from the first letter to the last."""
    made = [f"[{piece}]" if marked else piece for piece, marked in highlighted(caption, parse(typed))]
    assert made == pieces


def test_a_caption_without_end_is_marked_and_found() -> None:
    """A word longer than FTS5 keeps and a caption of 100 kB are found by a prefix as they are marked."""
    texts = ("x" * 100_000, "é" * 100_000, "red " * 25_000, "公" * 30_000)
    with fts(*texts) as base:
        for typed, number in (("xx*", 1), ("ee*", 2), ('"red red"', 3), ("公公", 4)):
            query = parse(typed)
            assert found(base, query.match) == {number}
            assert highlighted(texts[number - 1], query)[0][1]


def test_what_is_not_wanted_counts_too() -> None:
    """Words to leave out are as much work as words to find: fifty together, and not one more."""
    assert len(parse(" ".join(["a"] * 25 + ["-b"] * 25)).without) == 25
    with pytest.raises(BadQuery, match="50 words or phrases, this one has 51"):
        parse(" ".join(["a"] * 26 + ["-b"] * 25))
