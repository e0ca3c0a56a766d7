"""Ranges of remote files, tried again with patience: the requests behind adapters/remote.py.

Here: where a redirect led last, what is tried again and when (core/retry.py decides), and the count of what
came. It stands on adapters/http.py. A download has steps/fetch.py for this, with journals and many routes;
why reading for training has less is docs/decisions/0017-reads-for-training-retry.md. What an answer must look
like is said by whoever asks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Lock

from g3m.adapters.curl import CONNECT_TIMEOUT_S
from g3m.adapters.http import Came, Ended, Headed, Http, Occurrence, Pool, Request
from g3m.core.errors import Advice, Changed, SourceError, Truncated, Unreachable
from g3m.core.resume import Answer
from g3m.core.retry import History, Policy, decide
from g3m.core.secrets import mask

PATIENCE_S = 300.0
"""How long one range may take, with everything that is tried again."""

LED_S = 240.0
"""How long the target of a redirect is used again: hubs sign their links for some minutes at least."""

FIRST_ATTEMPTS = 3
"""So often is tried while nothing has answered yet: a name that was mistyped should not take a minute."""

_TICK_S = 0.2

Check = Callable[[Answer, int], int]
"""Given an answer and how many bytes came before: how many come now. Raises what speaks against it."""


class Ranges:
    """Fetches ranges over one Http, which keeps the connections; for the threads of one process."""

    def __init__(self, http: Http, policy: Policy) -> None:
        self.fetched_bytes = 0
        self.requests = 0
        self._http = http
        self._policy = policy
        self._first = replace(policy, empty_attempts=min(policy.empty_attempts, FIRST_ATTEMPTS))
        self._answered = False
        self._lock = Lock()
        self._led: dict[str, tuple[str, bool, float]] = {}

    def fetch(self, address: str, span: tuple[int, int], check: Check) -> bytes:
        """The bytes from `span[0]` to before `span[1]` of a file, or as many as `check` says.

        What came before a connection broke is kept, and only the rest is asked for again. Raises
        SourceError when patience ends, and what `check` raises.
        """
        body, history, end_s = bytearray(), History(), time.monotonic() + PATIENCE_S
        while True:
            before, (led, inside) = len(body), self._target(address)
            request = Request(
                url=led or address,
                place=address,
                inside=inside,
                way=self._http.ways.of(address)[0],
                start=span[0] + before,
                end=span[1],
            )
            try:
                self._try(request, check, body, end_s)
                return bytes(body)
            except SourceError as error:
                if led:
                    self._led.pop(address, None)
                    if error.advice is Advice.OTHER_PLACE:
                        continue  # a signed link that is too old: ask the place that signs them
                history = history.after(error, len(body) - before)
                jitter = random.random()  # noqa: S311  # it only spreads the waits
                policy = self._policy if self._answered else self._first
                verdict = decide(policy, error, history, jitter)
                if verdict.action == "drop" or time.monotonic() + verdict.wait_s > end_s:
                    raise
            time.sleep(verdict.wait_s)

    def _try(self, request: Request, check: Check, body: bytearray, end_s: float) -> None:
        """One request; what came of it is appended to the body."""
        before, to_come = len(body), 0
        with self._lock:
            self.requests += 1
        with self._http.pool() as pool:
            pool.start(0, request)
            for item in self._wait(pool, request.place, end_s):
                if isinstance(item, Headed):
                    to_come = check(item.answer, before)
                    self._answered = True
                    if item.url not in (request.place, request.url):
                        self._led[request.place] = (item.url, item.inside, time.monotonic() + LED_S)
                    if not to_come:
                        return
                elif isinstance(item, Came):
                    self._take(item, body)
                    if len(body) - before > to_come:
                        raise Changed(f"{mask(request.place)}: sent more bytes than were asked for")
                elif item.error is not None and (not to_come or len(body) - before < to_come):
                    raise item.error
        if len(body) - before < to_come:
            raise Truncated(f"{mask(request.place)}: {len(body) - before} bytes came of {to_come}")

    def _take(self, item: Came, body: bytearray) -> None:
        came = 0
        for piece in item.pieces:
            body += piece
            came += len(piece)
        with self._lock:
            self.fetched_bytes += came

    def _target(self, address: str) -> tuple[str, bool]:
        """Where a redirect led a short while ago, or nothing; and whether it began at no public place."""
        url, inside, until_s = self._led.get(address, ("", False, 0.0))
        return (url, inside) if time.monotonic() < until_s else ("", False)

    def _wait(self, pool: Pool, address: str, end_s: float) -> Iterator[Occurrence]:
        """What happens to a pool's only transfer, to its end; Unreachable if it falls silent or crawls."""
        stall_s = self._http.options.stall_timeout_s
        active_s, patience_s = time.monotonic(), stall_s + CONNECT_TIMEOUT_S
        while True:
            for item in pool.poll(_TICK_S):
                active_s, patience_s = time.monotonic(), stall_s
                yield item
                if isinstance(item, Ended):
                    return
            now_s = time.monotonic()
            if now_s - active_s > patience_s:
                raise Unreachable(f"{mask(address)}: no byte for {patience_s:g} s, connection closed")
            if now_s > end_s:
                raise Unreachable(f"{mask(address)}: not done after {PATIENCE_S:g} s")
