"""The language of searching captions: from what was typed to what FTS5 is asked and what is marked in a hit.

    bus stop               both words, in any order        bus OR tram   either; binds closer than a blank
    "double decker"        next to one another             -night        without it (also: NOT night)
    dec*   "double dec*"   words that begin so             公交车        these characters, next to one another

Case, accents and the width of letters do not count. The index holds `spaced(caption)`: its words are folded
here, so that FTS5's tokenizer (unicode61) has nothing left to decide but blanks. Of scripts that are written
without blanks (Chinese, Japanese, Thai, ...), and of Korean, every character is a word. SQL is elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from g3m.core.errors import BadText, Bilingual

MOST_CHARACTERS = 1000
MOST_TERMS = 50
_NO_WORD = (
    "type a word to look for: there is no letter and no digit",
    "请输入要查找的词：其中没有字母、数字或汉字",
)
_ONLY_WITHOUT = (
    "type a word to look for, too: this only says what is not wanted",
    "还需输入要查找的词：目前只有要排除的内容",
)
_ASCII_WORD = re.compile("[A-Za-z0-9]+")
_DIACRITIC = re.compile("[\u0300-\u036f]")
_PART = re.compile(r'(-?)(?:["“”＂]([^"“”＂]*)["“”＂]?(\*?)|([^\s"“”＂]+))')
# First characters of ranges, and of what lies behind each: Thai and Lao, Burmese, Korean letters, Khmer,
# ideographic signs, kana to the end of the Chinese characters, Korean, compatibility, kana and Chinese again.
# fmt: off
_BORDERS = (
    0x0E00, 0x0F00, 0x1000, 0x10A0, 0x1100, 0x1200, 0x1780, 0x1800, 0x3005, 0x3008, 0x3021, 0x302A,
    0x3040, 0xA000, 0xAC00, 0xD800, 0xF900, 0xFB00, 0x1AFF0, 0x1B170, 0x20000, 0x40000,
)
# fmt: on
# Letters that FTS5's older Unicode table takes for marks.
_UNKNOWN = frozenset(map(chr, (*range(0x19B0, 0x19C1), 0x19C8, 0x19C9, 0x1CF2, 0x1CF3)))


class BadQuery(BadText):
    """A query that looks for nothing, or for too much; `both` says which, in English and Chinese."""


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand next to one another; the last may be the beginning of one."""

    words: tuple[str, ...]
    is_prefix: bool = False

    @property
    def match(self) -> str:
        """The term for FTS5."""
        return f'"{" ".join(self.words)}"' + (" *" if self.is_prefix else "")


@dataclass(frozen=True, slots=True)
class Query:
    """What FTS5 is asked (`match`) and the terms that are looked for; `groups` are those of one OR each."""

    match: str
    terms: tuple[Term, ...]
    groups: tuple[tuple[Term, ...], ...] = ()
    without: tuple[Term, ...] = ()


def parse(text: str) -> Query:
    """Read what a person typed, whatever it is; BadQuery if no word is in it, or more than are allowed."""
    if len(text) > MOST_CHARACTERS:
        raise BadQuery(*_too_much(MOST_CHARACTERS, len(text), "characters", "个字符"))
    groups: list[list[Term]] = []
    without: list[Term] = []
    joins = negates = False
    for minus, quoted, star, bare in _PART.findall(text):
        if bare in {"AND", "OR", "NOT"} and not minus:
            joins, negates = bare == "OR", bare == "NOT"
            continue
        term = _term(bare or quoted + star)
        if term is not None and (minus or negates):
            without.append(term)
        elif term is not None and joins and groups:
            groups[-1].append(term)
        elif term is not None:
            groups.append([term])
        joins = joins and term is None
        negates = negates and term is None
    if not groups and not without and (word := _term(text)):  # nothing but OR, AND, NOT
        groups = [[word]]
    if not groups:
        raise BadQuery(*(_ONLY_WITHOUT if without else _NO_WORD))
    if (count := sum(map(len, groups)) + len(without)) > MOST_TERMS:
        raise BadQuery(*_too_much(MOST_TERMS, count, "words or phrases", "个词或短语"))
    match = " AND ".join(f"({' OR '.join(term.match for term in group)})" for group in groups)
    if without:
        match = f"({match}) NOT ({' OR '.join(term.match for term in without)})"
    terms = tuple(dict.fromkeys(term for group in groups for term in group))
    return Query(match, terms, tuple(map(tuple, groups)), tuple(without))


def _too_much(most: int, count: int, english: str, chinese: str) -> Bilingual:
    return (
        f"a query has at most {most} {english}, this one has {count}",
        f"查询最多 {most} {chinese}，当前有 {count} 个",
    )


def _term(text: str) -> Term | None:
    words = tuple(word for word, _start, _end in _words(text))
    if not words:
        return None
    return Term(words, text.endswith("*") and not _stands_alone(words[-1][-1]))


def spaced(text: str) -> str:
    """The words of a caption as the index has them; the text itself where FTS5 sees the same in it."""
    if text.isascii():
        return text
    return " ".join(word for word, _start, _end in _words(text))


def matches(text: str, query: Query) -> bool:
    """Whether FTS5 finds a caption by the query."""
    words = [word for word, _start, _end in _words(text)]
    return all(any(_has(term, words) for term in group) for group in query.groups) and not any(
        _has(term, words) for term in query.without
    )


def _has(term: Term, words: list[str]) -> bool:
    return next(_places(term, words), None) is not None


def highlighted(text: str, query: Query) -> tuple[tuple[str, bool], ...]:
    """Cut the text into pieces and say of each if a term of the query is there; joined, they are the text."""
    found = list(_words(text))
    words = [word for word, _start, _end in found]
    spans = sorted(
        (found[place][1], found[place + len(term.words) - 1][2])
        for term in query.terms
        for place in _places(term, words)
    )
    pieces: list[tuple[str, bool]] = []
    done = 0
    for start, end in _merged(spans):
        if start > done:
            pieces.append((text[done:start], False))
        pieces.append((text[start:end], True))
        done = end
    if done < len(text):
        pieces.append((text[done:], False))
    return tuple(pieces)


def _places(term: Term, words: list[str]) -> Iterator[int]:
    *before, last = term.words
    length = len(term.words)
    for place in range(len(words) - length + 1):
        if words[place : place + length - 1] != before:
            continue
        word = words[place + length - 1]
        if word == last or (term.is_prefix and word.startswith(last)):
            yield place


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Sorted spans with those that overlap or touch made one."""
    open_start, open_end = -1, -1
    for start, end in spans:
        if start > open_end:
            if open_end > open_start:
                yield open_start, open_end
            open_start, open_end = start, end
        open_end = max(open_end, end)
    if open_end > open_start:
        yield open_start, open_end


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """The folded words of a text, each with where it begins and ends in it."""
    if text.isascii():
        for found in _ASCII_WORD.finditer(text):
            yield found[0].lower(), found.start(), found.end()
        return
    word, word_start, word_end = "", 0, 0
    for start, end in _clusters(text):
        for character in _folded(text[start:end]):
            alone = _stands_alone(character)
            if word and (alone or character == " "):
                yield word, word_start, word_end
                word = ""
            if alone:
                yield character, start, end
            elif character != " ":
                word, word_start, word_end = word + character, word_start if word else start, end
    if word:
        yield word, word_start, word_end


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Where each character begins and ends, with what is written onto it."""
    start = 0
    for place in range(1, len(text)):
        character = text[place]
        if character < "\u0300" or not _joins(character):
            yield start, place
            start = place
    if text:
        yield start, len(text)


@lru_cache(maxsize=4096)
def _joins(character: str) -> bool:
    """Is it written onto the character before: a mark, half-wide voicing, the rest of a Korean syllable."""
    return (
        unicodedata.category(character)[0] == "M"
        or character in "\uff9e\uff9f"
        or "\u1160" <= character <= "\u11ff"
    )


@lru_cache(maxsize=16384)
def _folded(cluster: str) -> str:
    """One character (with its marks) as letters and digits in their plainest form, blanks for all else."""
    plain = _DIACRITIC.sub("", unicodedata.normalize("NFKD", cluster)).casefold()
    kinds = ((letter, unicodedata.category(letter)[0]) for letter in unicodedata.normalize("NFC", plain))
    return "".join(
        letter if kind in "LN" and letter not in _UNKNOWN else " " for letter, kind in kinds if kind != "M"
    )


def _stands_alone(character: str) -> bool:
    """Is it of a script in which blanks do not part words, or endings grow onto them."""
    return character >= "\u0e00" and bisect_right(_BORDERS, ord(character)) % 2 == 1
