"""One table of a TOML document being read: typed keys are taken, and every problem is noted with its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from g3m.core.digest import Digest

_SHOWN_CHARACTERS = 500
"""Of a key and of a problem: either may hold what somebody wrote."""

_WHOLE_LIMIT = 2**63


@dataclass(slots=True)
class Table:
    """A table at `path`; tables within it share its list of problems."""

    raw: Mapping[str, Any]
    path: str
    problems: list[str]
    seen: set[str] = field(default_factory=set)

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def note(self, key: str, problem: str) -> None:
        """Note what is wrong with a key."""
        self.problems.append(f"{self._at(key)[:_SHOWN_CHARACTERS]}: {problem[:_SHOWN_CHARACTERS]}")

    def _take(self, key: str, kind: type, word: str) -> Any:
        self.seen.add(key)
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.note(key, f"must be {word}, not {type(value).__name__}")
            return None
        return value

    def text(self, key: str, *, required: bool = False, pattern: re.Pattern[str] | None = None) -> str:
        """A text without blanks around it; empty where there is none."""
        value = self._take(key, str, "text")
        if value is None or not value.strip():
            if required and key in self.raw and value is not None:
                self.note(key, "must not be empty")
            elif required and key not in self.raw:
                self.note(key, "is missing")
            return ""
        if pattern is not None and not pattern.fullmatch(value):
            self.note(key, f"{value!r} does not fit {pattern.pattern}")
        return str(value).strip()

    def whole(self, key: str) -> int | None:
        """A whole number that is not negative, or None."""
        value: int | None = self._take(key, int, "a whole number")
        if value is not None and not 0 <= value < _WHOLE_LIMIT:
            self.note(key, "must not be negative" if value < 0 else f"must be below {_WHOLE_LIMIT}")
            return None
        return value

    def fraction(self, key: str, default: float) -> float:
        """A number from 0 to 1."""
        value = self.raw.get(key, default)
        self.seen.add(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            self.note(key, "must be a number from 0 to 1")
            return default
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._take(key, list, "a list of texts") or []
        if not all(isinstance(item, str) for item in value):
            self.note(key, "must be a list of texts")
            return ()
        return tuple(value)

    def digest(self, key: str) -> Digest | None:
        """A digest, or None."""
        text = self.text(key)
        return self.parse_digest(key, text) if text else None

    def parse_digest(self, key: str, text: str) -> Digest | None:
        """The digest that a text of this key is, or None."""
        try:
            return Digest.parse(text)
        except ValueError as error:
            self.note(key, str(error))
            return None

    def table(self, key: str) -> Table | None:
        """The table of that name, or None."""
        value = self._take(key, dict, "a table")
        return None if value is None else Table(value, self._at(key), self.problems)

    def tables(self, key: str) -> list[Table]:
        """The list of tables of that name."""
        value = self._take(key, list, "a list of tables") or []
        found = []
        for number, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Table(item, f"{self._at(key)}[{number}]", self.problems))
            else:
                self.note(key, "must be a list of tables")
        return found

    def finish(self) -> None:
        """Note every key that nobody asked for."""
        for key in self.raw:
            if key not in self.seen:
                near = difflib.get_close_matches(key, self.seen, n=1)
                self.note(key, "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))
