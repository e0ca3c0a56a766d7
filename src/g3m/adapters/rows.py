"""The rows of a crowd as values: what is wanted, what was got, and a row on its way between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from g3m.core.outcomes import GOOD
from g3m.core.weburl import WebAddress

Door = tuple[str, str]
"""What rows wait for: a name (`name`), an origin's robots.txt (`robots`), a place at a host (`host`)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row to fetch: its number comes back with what came of it."""

    number: int
    url: str


@dataclass(frozen=True, slots=True)
class Got:
    """What came of a row: a body, or a reason of core/outcomes.py with words.

    `url` is where the redirects led, `attempts` how often it was tried, `seconds` how long that took without
    waiting, `headers` those of a good answer that are worth keeping, names in lower case.
    """

    number: int
    reason: str = GOOD
    detail: str = ""
    body: bytes = b""
    url: str = ""
    attempts: int = 0
    seconds: float = 0.0
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """A row comes no further: its reason and words."""

    reason: str
    detail: str
    hearsay: bool = False
    """Whether it was not asked for: its host's silence is known from other rows."""


@dataclass(slots=True, eq=False)
class Row:
    """A row on its way, or (with `robots_of`) a request for the robots.txt of an origin."""

    number: int
    target: WebAddress
    robots_of: str = ""
    host: str = ""
    """The host that it asks at present, or asked last."""
    way: str = ""
    hops: int = 0
    tries: int = 0
    begins: bool = True
    """Whether its next request begins a try, and is not a hop of one."""
    spent_s: float = 0.0
    tried: set[str] = field(default_factory=set)
    """The ways on which it failed."""
    last: Over = field(default=Over("", ""))
    """Why it failed when it was tried last."""

    @property
    def origin(self) -> str:
        host = f"[{self.target.host}]" if ":" in self.target.host else self.target.host
        return f"{self.target.scheme}://{host}:{self.target.port}"
