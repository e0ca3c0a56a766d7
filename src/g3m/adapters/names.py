"""From names of hosts to the addresses that may be connected to, once for all tasks of a process.

Nobody waits here: `ask` answers from what is known, and a bounded number of threads resolve the rest. An
answer is checked as a whole, and the addresses that were checked are those that are connected to: a name
server that answers differently a moment later changes nothing.
"""

from __future__ import annotations

import heapq
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from g3m.core.addresses import is_numeric, is_stand_in, literal, refusal
from g3m.core.outcomes import STAND_IN

GOOD_FOR_S = 600.0
FAILED_FOR_S = 60.0
MOST_KEPT = 50_000
"""Answers that are remembered; of a list with millions of hosts the oldest are asked for again."""

PAUSES_S = (0.5, 2.0)
"""Before the second and third try of a name whose server did not answer."""

_MOST_ADDRESSES = 8
_ENDING_S = 2.0
_UNKNOWN = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@dataclass(frozen=True, slots=True)
class Known:
    """What a name leads to: addresses that may be connected to, or a code of core/outcomes.py and words."""

    addresses: tuple[str, ...] = ()
    reason: str = ""
    detail: str = ""


@dataclass(order=True, slots=True)
class _Wish:
    """A look-up to be made, not before `due_s`."""

    due_s: float
    number: int
    host: str
    tried: int = 0


class Names:
    """Thread-safe. `refuse` says why an address must not be reached: by default, because it is not public."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        lookups: int = 32,
        look_up: Callable[..., list[Any]] = socket.getaddrinfo,
        refuse: Callable[[str], str] | None = None,
        pauses_s: tuple[float, ...] = PAUSES_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lookups` is the most names that are resolved at one time, each in a thread of its own."""
        self.refuse = refuse or (lambda address: refusal(address, allow_private))
        self._lookups, self._look_up = lookups, look_up
        self._pauses_s, self._monotonic = pauses_s, monotonic
        lock = threading.Lock()
        self._changed, self._called = threading.Condition(lock), threading.Condition(lock)
        self._kept: dict[str, tuple[float, Known]] = {}
        self._pending: set[str] = set()
        self._wishes: list[_Wish] = []
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._asked = 0
        self._ended = 0
        self._seen = threading.local()
        self._closed = False

    def ask(self, host: str) -> Known | None:
        """What a host leads to; None while it is being looked up. Never waits."""
        if is_numeric(host):
            return self._number(host)
        with self._changed:
            until_s, known = self._kept.get(host, (0.0, None))
            if known is not None and self._monotonic() < until_s:
                return known
            if self._closed:
                return Known((), "name_failed", "no more names are looked up")
            if host not in self._pending:
                self._pending.add(host)
                self._wish(_Wish(self._monotonic(), 0, host))
            return None

    def wait(self, timeout_s: float) -> None:
        """Wait until a look-up ended since this thread last waited, at most so long."""
        with self._changed:
            seen = getattr(self._seen, "ended", 0)
            self._changed.wait_for(lambda: self._ended != seen or self._closed, timeout_s)
            self._seen.ended = self._ended

    def open(self) -> None:
        """Look names up again after `close`: a session may run several plans, one after the other."""
        with self._changed:
            if self._closed:
                self._closed = False
                self._pending.clear()
                self._wishes.clear()
                self._threads = [thread for thread in self._threads if thread.is_alive()]

    def close(self) -> None:
        """Begin no more look-ups; one that hangs in the system's resolver is left to end by itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._called.notify_all()
        ending_s = time.monotonic() + _ENDING_S
        for thread in self._threads:
            thread.join(max(ending_s - time.monotonic(), 0))

    def _number(self, host: str) -> Known:
        address = literal(host)
        why = self.refuse(address) if address else "a number in an unusual spelling"
        return Known((), "private_address", why) if why else Known((address,))

    def _wish(self, wish: _Wish) -> None:
        """Queue a look-up, with a thread for it as long as there may be more. The lock is held."""
        self._asked += 1
        wish.number = self._asked
        heapq.heappush(self._wishes, wish)
        if len(self._wishes) > self._idle and len(self._threads) < self._lookups:
            thread = threading.Thread(target=self._work, name="g3m-names", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._called.notify()

    def _work(self) -> None:
        while True:
            wish = self._next()
            if wish is None:
                return
            known = self._resolve(wish.host)
            with self._changed:
                if known.reason == "name_failed" and wish.tried < len(self._pauses_s):
                    wish.due_s = self._monotonic() + self._pauses_s[wish.tried]
                    wish.tried += 1
                    self._wish(wish)
                else:
                    self._keep(wish.host, known)

    def _next(self) -> _Wish | None:
        """The next look-up that is due; None after the end."""
        with self._changed:
            self._idle += 1
            try:
                while not self._closed:
                    in_s = self._wishes[0].due_s - self._monotonic() if self._wishes else None
                    if in_s is not None and in_s <= 0:
                        return heapq.heappop(self._wishes)
                    self._called.wait(in_s)
                return None
            finally:
                self._idle -= 1

    def _keep(self, host: str, known: Known) -> None:
        kept_s = {"name_unknown": float("inf"), "name_failed": FAILED_FOR_S}.get(known.reason, GOOD_FOR_S)
        self._kept.pop(host, None)
        self._kept[host] = (self._monotonic() + kept_s, known)
        while len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._pending.discard(host)
        self._ended += 1
        self._changed.notify_all()

    def _resolve(self, host: str) -> Known:
        try:
            found = self._look_up(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except socket.gaierror as error:
            return Known(
                (), "name_unknown" if error.errno in _UNKNOWN else "name_failed", error.strerror or ""
            )
        except ValueError:
            return Known((), "name_unknown", "no name that can be asked for")
        except OSError as error:
            return Known((), "name_failed", error.strerror or "")
        addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        # One address that is not public makes the whole answer suspect: no picture is worth the choice.
        refused = [address for address in addresses if self.refuse(address)]
        for address in refused:
            if not is_stand_in(address):
                return Known((), "private_address", self.refuse(address))
        if refused:
            return Known((), STAND_IN, refused[0])
        if not addresses:
            return Known((), "name_unknown", "no address")
        return Known(addresses[:_MOST_ADDRESSES])
