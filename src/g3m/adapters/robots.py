"""What a host's robots.txt lets us fetch, by RFC 9309.

`urllib.robotparser` knows neither `*` and `$` in paths nor that the longest rule decides, and hosts use both.
Fetching the file, and what its absence means, is for adapters/hosts.py.
"""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

from g3m.core.optout import AGENT

MOST_CHARACTERS = 512 * 1024
"""More of a robots.txt is not read, as the RFC allows."""

MOST_RULES = 2000
"""More for one agent are not read: they would cost every row of the host time, and this process memory."""

_MOST_STARS = 16
_SAFE = "/:=&~+!$,;'@()*[]?"


class Robots:
    """The rules of one host for us: those under our name, or else those for all."""

    __slots__ = ("_rules",)

    def __init__(self, text: str) -> None:
        """`text` is the whole file; what cannot be read in it is passed over."""
        groups = _groups(text[:MOST_CHARACTERS].removeprefix("\ufeff"))
        rules = groups.get(AGENT, groups.get("*", []))[:MOST_RULES]
        # The longest rule that fits decides, and of two of one length the one that allows.
        self._rules = sorted((_Rule(path, allow) for path, allow in rules), key=lambda rule: rule.rank)

    def allows(self, url: str) -> bool:
        """Whether we may fetch this URL of the host."""
        parts = urlsplit(url)
        path = _plain(parts.path or "/") + (f"?{_plain(parts.query)}" if parts.query else "")
        if path == "/robots.txt":
            return True
        return next((rule.allow for rule in self._rules if rule.fits(path)), True)


class _Rule:
    """One line `Allow` or `Disallow`: pieces of a path between stars, and whether its end is the path's."""

    __slots__ = ("_ends", "_pieces", "allow", "rank")

    def __init__(self, path: str, allow: bool) -> None:
        self.allow = allow
        self._ends = path.endswith("$")
        pieces = path.removesuffix("$").split("*", _MOST_STARS)
        self._pieces = [_plain(piece) for piece in pieces]
        self.rank = (-len(path), not allow)

    def fits(self, path: str) -> bool:
        first, *others = self._pieces
        if not path.startswith(first):
            return False
        at = len(first)
        if self._ends and others:
            *others, last = others
            end = len(path) - len(last)
            return path.endswith(last) and 0 <= _find_all(others, path, at) <= end
        at = _find_all(others, path, at)
        return at == len(path) if self._ends else at >= 0


def _find_all(pieces: list[str], path: str, at: int) -> int:
    """Where the last of the pieces ends if they stand in the path one after the other, or -1."""
    for piece in pieces:
        found = path.find(piece, at)
        if found < 0:
            return -1
        at = found + len(piece)
    return at


def _groups(text: str) -> dict[str, list[tuple[str, bool]]]:
    """The rules of every agent of a file, (path, allow), in the order they stand."""
    groups: dict[str, list[tuple[str, bool]]] = {}
    agents: list[str] = []
    in_rules = False
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "user-agent":
            if in_rules:
                agents, in_rules = [], False
            agents.append(value.partition("/")[0].lower())
            groups.setdefault(agents[-1], [])
        elif key in ("allow", "disallow"):
            in_rules = True
            for agent in agents if value else ():
                groups[agent].append((value, key == "allow"))
    return groups


def _plain(text: str) -> str:
    """One spelling for what may be percent-encoded or not."""
    return quote(unquote(text, errors="surrogateescape"), safe=_SAFE, errors="surrogateescape")
