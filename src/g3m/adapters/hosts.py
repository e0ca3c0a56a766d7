"""What all crowds of a process know of hosts together: names, requests under way, rests, robots.txt.

Thread-safe and bounded: what is known of a host that nothing is wrong with is forgotten first. The decisions
are those of core/manners.py; the requests, also for robots.txt, are made by crowd.py.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Literal

from g3m.adapters.names import Names
from g3m.adapters.robots import Robots
from g3m.core.manners import LIVELY_S, NETWORK, HostState

KEPT_HOSTS = 20_000
KEPT_ORIGINS = 50_000
KEPT_ROBOTS_CHARACTERS = 16 * 2**20
FAILED_ROBOTS_S = 60.0
"""How long a robots.txt that did not come is not asked for again."""


class Rules:
    """What came of an origin's robots.txt: rules, or the reason why nothing is asked of it for now."""

    __slots__ = ("_robots", "detail", "ends_s", "reason", "size")

    def __init__(
        self, text: str = "", reason: str = "", detail: str = "", ends_s: float = float("inf")
    ) -> None:
        self._robots = Robots(text) if text else None
        self.reason = reason
        self.detail = detail
        self.ends_s = ends_s
        self.size = len(text)

    def allows(self, url: str) -> bool:
        return self._robots is None or self._robots.allows(url)


class Hosts:
    """The shared knowledge; a context manager, because names are looked up in threads."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        ask_robots: bool = True,
        names: Names | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.allow_private = allow_private
        self.ask_robots = ask_robots
        self.names = names or Names(allow_private=allow_private)
        self._monotonic = monotonic
        self._lock = Lock()
        self._states: OrderedDict[str, HostState] = OrderedDict()
        self._rules: OrderedDict[str, Rules | None] = OrderedDict()
        self._characters = 0
        self._answered_s = float("-inf")
        self._turns = 0

    def __enter__(self) -> Hosts:
        self.names.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads of the names."""
        self.names.close()

    def take_turn(self, abreast: int) -> bool:
        """Whether one more crowd may take rows, if so many may (0: any); `end_turn` must follow a yes."""
        with self._lock:
            is_free = not abreast or self._turns < abreast
            self._turns += is_free
            return is_free

    def end_turn(self) -> None:
        """A crowd has taken its last row."""
        with self._lock:
            self._turns -= 1

    def start(self, host: str, limit: int) -> Literal["yes", "full", "rests", "silent"]:
        """Ask for a place at a host that takes `limit` requests at once; `yes` must be followed by `end`."""
        with self._lock:
            state = self._state(host, limit)
            now_s = self._monotonic()
            answer = state.may_start(now_s)
            if answer == "yes":
                state.started(now_s)
            return answer

    def end(self, host: str, reason: str, asked_s: float = 0.0, waited_s: float = 0.0) -> None:
        """A request ended so; `asked_s`: what its Retry-After said; `waited_s`: how long no byte came."""
        with self._lock:
            state, now_s = self._states[host], self._monotonic()
            if reason not in NETWORK and reason != "cut_off":
                self._answered_s = now_s
            waited_s = waited_s if now_s - self._answered_s <= LIVELY_S else 0.0
            jitter = random.random()  # noqa: S311
            state.ended(reason, now_s, asked_s=asked_s, jitter=jitter, waited_s=waited_s)
            if len(self._states) > KEPT_HOSTS:
                self._forget_a_host()

    def rest(self, host: str) -> tuple[float, str]:
        """Until when a host rests, and why; 0 if it does not."""
        with self._lock:
            state = self._states.get(host)
            if state is None or state.rest_until_s <= self._monotonic():
                return 0.0, ""
            return state.rest_until_s, state.reason

    def failing(self, host: str) -> str:
        """How a host fails of which nothing but failures came lately; empty for all others."""
        with self._lock:
            state = self._states.get(host)
            return (state.reason or "timeout") if state is not None and state.failing else ""

    def answered(self, host: str) -> bool:
        """Whether a host ever answered when a picture was asked for."""
        with self._lock:
            state = self._states.get(host)
            return state is not None and state.answered

    def quiet_s(self, host: str) -> float:
        """How long requests to a host have been waiting for any answer of it; 0: there are none."""
        with self._lock:
            state = self._states.get(host)
            return self._monotonic() - state.heard_s if state is not None and state.under_way else 0.0

    def fails_alone(self, host: str) -> bool:
        """Whether other hosts answered after this one began to fail: then the network is not the reason."""
        with self._lock:
            state = self._states.get(host)
            return state is not None and self._answered_s > state.failed_s > 0

    def known_good(self, host: str) -> bool:
        """Whether pictures came of a host in this run."""
        with self._lock:
            state = self._states.get(host)
            return state is not None and state.known_good

    def rules(self, origin: str) -> Rules | Literal["ask", "wait"]:
        """The rules of an origin (`https://host:port`); `ask`: the caller must fetch them now and `settle`.

        `wait`: another crowd is fetching them.
        """
        with self._lock:
            known = self._rules.get(origin)
            if known is None:
                if origin in self._rules:
                    return "wait"
            elif self._monotonic() < known.ends_s:
                self._rules.move_to_end(origin)
                return known
            else:
                self._drop(origin)
            self._rules[origin] = None
            return "ask"

    def settle(self, origin: str, rules: Rules | None) -> None:
        """What came of fetching the rules; None: it was given up, somebody else may ask."""
        with self._lock:
            self._drop(origin)
            if rules is None:
                return
            self._rules[origin] = rules
            self._characters += rules.size
            while len(self._rules) > KEPT_ORIGINS or self._characters > KEPT_ROBOTS_CHARACTERS:
                oldest = next((name for name, known in self._rules.items() if known is not None), origin)
                self._drop(oldest)
                if oldest == origin:
                    break

    def robots_failed(self, reason: str, detail: str) -> Rules:
        """Rules for an origin whose robots.txt did not come: nothing is asked of it for a minute."""
        return Rules(reason=reason, detail=detail, ends_s=self._monotonic() + FAILED_ROBOTS_S)

    def _state(self, host: str, limit: int) -> HostState:
        state = self._states.get(host)
        if state is None:
            state = self._states[host] = HostState(limit)
        else:
            self._states.move_to_end(host)
        return state

    def _forget_a_host(self) -> None:
        """Forget one that nothing is under way to, if possible one that nothing is wrong with."""
        oldest = list(islice(self._states, 16))
        found = next((host for host in oldest if self._states[host].idle), "") or next(
            (host for host in oldest if not self._states[host].under_way), ""
        )
        if found:
            del self._states[found]

    def _drop(self, origin: str) -> None:
        known = self._rules.pop(origin, None)
        if known is not None:
            self._characters -= known.size
