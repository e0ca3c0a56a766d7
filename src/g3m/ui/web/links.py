"""The addresses on the pages, and only here: templates name a page and never write a path.

A server's links are in this file; an export has its own, where a page that is not written has no address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlencode

STATIC = Path(__file__).parent / "static"

PATHS = {
    "home": "/",
    "downloads": "/downloads",
    "browse": "/browse",
    "search": "/search",
    "stats": "/stats",
    "alike": "/alike",
    "leaks": "/leaks",
    "shards": "/shards",
    "left-out": "/left-out",
    "help": "/help",
    "keys": "/keys.txt",
    "leaked": "/leaked.jsonl",
    "live": "/live",
}
"""Pages that are named by their parameters alone; `sample` has its dataset and number in the path."""


class Links(Protocol):
    """Where things are. None means that they are not there: then the page shows their text without a link."""

    @property
    def answers(self) -> bool:
        """Whether somebody answers forms and keeps pages up to date; an exported page has nobody."""

    @property
    def note(self) -> str:
        """What is to be said at the foot of every page, ready to be read; empty on a server."""

    @property
    def policy(self) -> str:
        """A content security policy for the page itself to name; empty where headers do."""

    def page(self, name: str, /, **parameters: object) -> str | None:
        """The address of a page of `PATHS`, or of `sample` (dataset=, number=), less what is empty."""

    def picture(self, dataset: str, number: int, side: int, /) -> str | None:
        """A picture drawn anew, of at most `side` pixels."""

    def original(self, dataset: str, number: int, /) -> str | None:
        """The picture's own bytes, to be saved and not to be shown."""

    def static(self, name: str, /) -> str:
        """A file of `static/`."""


class ServerLinks:
    """Links of a running server, all below `prefix` (no slash at its end).

    `version` says which state of a dataset is shown: with it in their address, pictures may be kept.
    """

    def __init__(self, prefix: str = "", version: Callable[[str], str] = lambda _dataset: "") -> None:
        self._prefix = prefix
        self._version = version

    @property
    def answers(self) -> bool:
        """Always: this is the server."""
        return True

    @property
    def note(self) -> str:
        """Nothing."""
        return ""

    @property
    def policy(self) -> str:
        """Nothing: the server's headers say it."""
        return ""

    def page(self, name: str, /, **parameters: object) -> str | None:
        """The path of a page with its parameters.

        >>> ServerLinks().page("browse", dataset="coco", words="", after=60)
        '/browse?dataset=coco&after=60'
        >>> ServerLinks().page("sample", dataset="a/b", number=7)
        '/sample/a%2Fb/7'
        """
        if name == "sample":
            more = dict(parameters)
            path = _of_sample("sample", str(more.pop("dataset")), more.pop("number"))
            return self._prefix + path + _query(more)
        return self._prefix + PATHS[name] + _query(parameters)

    def picture(self, dataset: str, number: int, side: int, /) -> str | None:
        """`/picture/DATASET/NUMBER?side=SIDE`, with the version if there is one."""
        more = _query({"side": side, "v": self._version(dataset)})
        return self._prefix + _of_sample("picture", dataset, number) + more

    def original(self, dataset: str, number: int, /) -> str | None:
        """`/original/DATASET/NUMBER`."""
        return self._prefix + _of_sample("original", dataset, number)

    def static(self, name: str, /) -> str:
        """`/static/NAME?v=DIGEST`: another content has another address."""
        return f"{self._prefix}/static/{quote(name)}?v={digest_of(name)}"


@cache
def digest_of(name: str) -> str:
    """A few hex digits that change with a file of `static/`."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def _of_sample(kind: str, dataset: str, number: object) -> str:
    return f"/{kind}/{quote(dataset, safe='', errors='replace')}/{number}"


def _query(parameters: dict[str, object]) -> str:
    given = {name: str(value) for name, value in parameters.items() if value is not None and value != ""}
    return "?" + urlencode(given, errors="replace") if given else ""
