"""Texts of strangers in pieces that a page can show: hits of a search, and what would not be seen, marked.

Pure. A piece is still hostile: the templates escape it and put it into a <bdi>, so that letters written
from right to left turn nothing around them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from g3m.core.query import Query, highlighted

Kind = Literal["", "hit", "mark"]

SHORT = 120
"""A caption of at most so many letters stands on a card as it is."""

LONG = 2000
"""Unfolded, a card shows so many; the sample's own page shows more."""

WHOLE = 100_000
"""So many letters of one text are on a page at most."""

_TELLING = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
# Joiners are part of how Persian, Hindi and emoji are written.
_USUAL = frozenset("\t\n\u200c\u200d")
_SUSPECT = re.compile(
    "[^\t\n -~\u00a1-\u00ac\u00ae-\u02ff\u0370-\u05ff\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7af]"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: plain, a hit of a search, or a mark that stands for a character nobody can see."""

    text: str
    kind: Kind = ""
    title: str = ""
    is_hit: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A text for a card: what is always seen, what is seen unfolded, and how many letters are in neither."""

    head: tuple[Piece, ...]
    rest: tuple[Piece, ...] = ()
    left_out: int = 0


def told(text: str, query: Query | None = None, *, short: int = SHORT, most: int = LONG) -> Told:
    """A text cut where it would be too long for a card, at a blank if there is one near."""
    if len(text) <= short:
        return Told(pieces(text, query))
    cut = text.rfind(" ", short * 3 // 4, short)
    cut = short if cut < 0 else cut + 1
    shown = text[:most]
    return Told(pieces(shown[:cut], query), pieces(shown[cut:], query), max(0, len(text) - most))


def pieces(text: str, query: Query | None = None) -> tuple[Piece, ...]:
    """The text in pieces, with the hits of a query marked, and what cannot be seen by its number and name.

    >>> [piece.text for piece in pieces("a\\u202eb")]
    ['a', 'U+202E', 'b']
    """
    if query is None or not text:
        return tuple(_marked(text, is_hit=False))
    return tuple(piece for part, is_hit in highlighted(text, query) for piece in _marked(part, is_hit=is_hit))


def plain(text: str) -> str:
    """The text for an attribute: every character that cannot be seen is replaced by its number.

    >>> plain("a\\x00b")
    'aU+0000b'
    """
    return "".join(piece.text for piece in pieces(text))


def _marked(text: str, *, is_hit: bool) -> Iterator[Piece]:
    kind: Kind = "hit" if is_hit else ""
    start = 0
    for found in _SUSPECT.finditer(text):
        character = found[0]
        if not _is_unseen(character):
            continue
        if found.start() > start:
            yield Piece(text[start : found.start()], kind, is_hit=is_hit)
        yield Piece(f"U+{ord(character):04X}", "mark", _name(character), is_hit)
        start = found.end()
    if start < len(text):
        yield Piece(text[start:], kind, is_hit=is_hit)


@lru_cache(maxsize=4096)
def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _TELLING and character not in _USUAL


def _name(character: str) -> str:
    return unicodedata.name(character, "").lower()
