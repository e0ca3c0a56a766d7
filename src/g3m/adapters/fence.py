"""Where the redirects of a download must not lead: from a public host into a network that is not public.

A place may lie anywhere, for who named it meant it. Where it lies in a private network its redirects may
lead about in there; a public one has no business in the network of whoever downloads. What lists of
strangers name is held closer, in doors.py and slot.py.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from g3m.core.addresses import inside, is_numeric, literal
from g3m.core.errors import Changed
from g3m.core.proxies import PORTS
from g3m.core.secrets import host_of

_HINT = (
    "if this network wants a login, log in and run again; for a server of your own say --allow-private",
    "若当前网络需要登录，请登录后重试；若该服务器属于您，请加 --allow-private",
)


class Fence:
    """What one client refuses, and which of its connections may lead to what it refuses."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._held: set[tuple[str, int]] = set()

    def bars(self, address: str) -> str:
        """Why no public host may redirect to a numeric address, in words; empty: it may."""
        return inside(address, self._allow_private)

    def bars_number(self, url: str) -> str:
        """The same for a URL whose host is a number; a name is not looked up."""
        number = _number(url)
        return self.bars(number) if number else ""

    def remember(self, url: str) -> None:
        """A connection to this host, which may be kept and used again, leads to what would be refused."""
        self._held.add(_end(url))

    def may_hold(self, url: str) -> bool:
        """Whether there may be such a connection; where one is used, no socket is opened and none checked."""
        return _end(url) in self._held


def is_inside(url: str, reached: str) -> bool:
    """Whether a place is not public, by the address that was connected to; behind a proxy that is unknown."""
    address = reached or _number(url)
    return bool(address and inside(address))


def barred(place: str, url: str, why: str) -> Changed:
    """The error for a redirect of a place to where it must not lead."""
    return Changed(f"{host_of(place)}: redirected to {host_of(url)}, which is not public ({why})", hint=_HINT)


def _number(url: str) -> str:
    """The address that a URL's host is, in its plain spelling if it has one; empty for a name."""
    host = urlsplit(url).hostname or ""
    return (literal(host) or host) if is_numeric(host) else ""


def _end(url: str) -> tuple[str, int]:
    """Host and port, as libcurl compares them when it looks for a connection that is open."""
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or PORTS.get(parts.scheme, 0)
