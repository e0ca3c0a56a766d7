"""A crowd for tests: the rows of a list fetched from tests/pictures_host.py, and what came of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.pictures_host import PicturesHost

from g3m.adapters.crowd import Crowd, Got, Wanted
from g3m.adapters.curl import HttpOptions
from g3m.adapters.hosts import Hosts
from g3m.adapters.names import Names
from g3m.core.addresses import refusal
from g3m.core.manners import CrowdLimits
from g3m.core.proxies import Ways

PATIENCE_S = 60.0
"""A fetch that has not ended by then hangs: this machine may be busy, but not so busy."""


@contextmanager
def knowing(
    host: PicturesHost, *, robots: bool = False, refuse: Any = None, look_up: Any = None
) -> Iterator[Hosts]:
    """What a process knows of hosts, where every name that ends in .test is the host of pictures."""
    names = Names(
        allow_private=True,
        look_up=look_up or host.look_up,
        refuse=refuse or (lambda address: refusal(address, allow_private=True)),
        pauses_s=(),
    )
    with Hosts(allow_private=True, ask_robots=robots, names=names) as hosts:
        yield hosts


@dataclass
class Fetcher:
    """Fetches lists, with the limits of a test."""

    hosts: Hosts
    ways: Ways = field(default_factory=Ways)
    variables: tuple[tuple[str, str], ...] = ()
    pace: Any = None
    stopping: Callable[[], bool] = lambda: False

    def crowd(self, **limits: Any) -> Crowd:
        options = HttpOptions(user_agent="g3m-test/1", variables=dict(self.variables))
        return Crowd(
            options, self.ways, self.hosts, CrowdLimits(**limits), pace=self.pace, stopping=self.stopping
        )

    def __call__(self, urls: Iterable[str], **limits: Any) -> list[Got]:
        """What came of each, in the order of the list; every row exactly once."""
        wanted = [Wanted(number, url) for number, url in enumerate(urls)]
        with self.crowd(**limits) as crowd:
            found = list(drained(crowd, wanted))
        assert sorted(got.number for got in found) == list(range(len(wanted)))
        return sorted(found, key=lambda got: got.number)


def drained(crowd: Crowd, wanted: Iterable[Wanted]) -> Iterator[Got]:
    """Everything that a crowd tells, without the pauses."""
    end_s = time.monotonic() + PATIENCE_S
    for got in crowd.fetch(iter(wanted), lambda: True):
        assert time.monotonic() < end_s, "a fetch that does not end"
        if got is not None:
            yield got
