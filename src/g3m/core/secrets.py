"""Secrets that hide themselves, and URLs that can be shown.

A token is wrapped in `Secret` from the moment it is read; printing, formatting or logging the
wrapper shows `***`. A URL is shown through `mask`, which drops user info and the values of its
query: signed links carry their signature there.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Secret:
    """A value that is never shown; `reveal()` is the only way to it, and easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: for a request header, and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return (Secret, (self._value,))


@dataclass(frozen=True, slots=True)
class Token:
    """A credential and the hosts it belongs to (`host` or `host:port`); it goes nowhere else."""

    header: Secret
    hosts: frozenset[str]

    def header_for(self, url: str) -> Secret | None:
        """The `Authorization` value if the URL is the token's own host over TLS (or loopback)."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        if parts.netloc not in self.hosts and parts.hostname not in self.hosts:
            return None
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            return None
        return self.header


def mask(url: str) -> str:
    """The URL without user info and without the values of its query.

    >>> mask("https://me:pw@host/a.tar?X-Amz-Signature=abc&part=1")
    'https://host/a.tar?X-Amz-Signature=***&part=***'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable address)"
    # Names stay encoded: decoded they could hold line ends. A bare word may itself be the secret.
    query = "&".join(
        f"{name}=***" if equals else "***"
        for name, equals, _ in (pair.partition("=") for pair in parts.query.split("&") if pair)
    )
    host = f"[{host}]" if ":" in host else host
    return urlunsplit(SplitResult(parts.scheme, host + port, parts.path, query, ""))


def host_of(url: str) -> str:
    """Host and port of a URL, for messages and comparisons: no user info."""
    return mask(url).partition("://")[2].partition("/")[0]
