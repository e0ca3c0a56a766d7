"""The rows of a list of URLs, fetched side by side: each ends as a body or with a reason.

One thread drives it, the task's own. How hosts are treated is decided in core/manners.py, when to stop as a
whole in core/alarm.py; reasons are those of core/outcomes.py. doors.py says what a row must pass before a
request, wire.py makes it. No cookies, no credentials, no retry that cannot help.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType

from g3m.adapters.curl import HttpOptions
from g3m.adapters.doors import Doors
from g3m.adapters.hosts import Hosts
from g3m.adapters.pace import Pace
from g3m.adapters.replies import outcome
from g3m.adapters.rows import Door, Got, Over, Row, Wanted
from g3m.adapters.slot import Reply
from g3m.adapters.waiting import Waiting
from g3m.adapters.wire import Wire
from g3m.core.alarm import Alarm
from g3m.core.errors import Interrupted
from g3m.core.manners import (
    OTHER_WAY,
    CrowdLimits,
    retries_allowed,
    retry_wait_s,
    tail_allowance_s,
)
from g3m.core.outcomes import GOOD
from g3m.core.proxies import Ways
from g3m.core.resume import retry_after_s
from g3m.core.weburl import BadUrl, next_address, web_address

__all__ = ["Crowd", "Got", "Wanted"]

BEAT_S = 0.2
GLANCE_S = 0.02
"""How often rows that wait for a name, a rest or another task are looked at again."""

GLANCES = 256
"""How many doors are looked at each time."""

WINDOW_ROWS = 2048
"""So many rows may wait before doors while others pass them."""

LEAST_TRY_S = 0.5
GOOD_KEPT = 1000

_REDIRECTS = (301, 302, 303, 307, 308)


class Crowd:
    """A context manager for one task; its connections live as long as it does."""

    def __init__(
        self,
        options: HttpOptions,
        ways: Ways,
        hosts: Hosts,
        limits: CrowdLimits,
        *,
        pace: Pace | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`hosts` is shared by all crowds of a process; tokens in `options` are not used."""
        self._hosts, self._limits = hosts, limits
        self._pace, self._stopping = pace, stopping
        self._doors = Doors(ways, hosts, limits)
        self._wire = Wire(replace(options, tokens=()), limits, hosts.names.refuse)
        self._waiting = Waiting()
        self._rows = self._retries = 0
        self._finished: deque[Got] = deque()
        self._good_s: deque[float] = deque(maxlen=GOOD_KEPT)
        self._alarm = Alarm()
        self._glanced_s = self._minded_s = 0.0
        self._idle_since_s: float | None = None
        self._exhausted = self._has_turn = False
        self._has_room: Callable[[], bool] = lambda: True

    def __enter__(self) -> Crowd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        under_way: list[Row] = [slot.owner for slot in self._wire.slots]
        for row in under_way:
            self._doors.leave(row, "cut_off")
        for row in [*under_way, *self._waiting.take_all()]:
            self._doors.give_up(row)
        self._wire.close()
        self._end_turn()

    def fetch(self, wanted: Iterator[Wanted], has_room: Callable[[], bool]) -> Iterator[Got | None]:
        """What comes of each row, in the order in which they end; None while there is nothing, often.

        Rows are taken from `wanted` as there is capacity. Nothing is begun while `has_room` says no; what is
        under way still comes. Raises Unreachable if the network is dead or wants a login, and Interrupted.
        """
        self._exhausted, self._has_room = False, has_room
        while True:
            if self._stopping():
                raise Interrupted("stopped while fetching")
            pause_s = self._pause_s()
            if pause_s > 0:
                time.sleep(min(pause_s, BEAT_S))
                yield None
                continue
            has_begun = has_room() and self._fill(wanted)
            if not self._finished:
                self._work(patient=has_begun)
                self._give_up_the_silent()
                if has_begun:
                    self._mind_the_tail()
            if self._finished:
                while self._finished:
                    yield self._finished.popleft()
            elif self._exhausted and not self._waiting and not len(self._wire):
                return
            else:
                yield None

    def _pause_s(self) -> float:
        """How long to do nothing: until it is this crowd's turn, or to keep the limit of bandwidth."""
        if not self._has_turn and not self._exhausted:
            self._has_turn = self._hosts.take_turn(self._limits.abreast)
            if not self._has_turn:
                return GLANCE_S
        # What is not read is not sent on: the limit needs nothing else.
        return self._pace.wait_s() if self._pace is not None else 0.0

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._hosts.end_turn()

    def _work(self, *, patient: bool) -> None:
        """Let the requests go on until something happens, and take in what came."""
        if len(self._wire):
            for row, reply in self._wire.poll(BEAT_S if patient and not self._waiting else GLANCE_S):
                self._take(row, reply)
        else:
            self._hosts.names.wait(GLANCE_S)

    # -- from a row to a request

    def _fill(self, wanted: Iterator[Wanted]) -> bool:
        """Begin what can be: rows that wait, then new ones, then second tries. False: no room for all."""
        now_s = time.monotonic()
        if self._waiting.count and now_s - self._glanced_s >= GLANCE_S:
            self._glanced_s = now_s
            for door in self._waiting.doors[:GLANCES]:
                self._waiting.wake(door, self._pass, self._may_begin)
        while self._has_capacity() and not self._exhausted and self._waiting.count < WINDOW_ROWS:
            if len(self._finished) >= GLANCES or not self._has_room():
                return False
            item = next(wanted, None)
            if item is None:
                self._exhausted = True
            else:
                self._begin(item)
        if self._exhausted and self._good_s:
            self._end_turn()  # the next task may take rows while this one waits for its last
        while self._may_begin():
            row = self._waiting.due(now_s)
            if row is None:
                break
            self._place(row)
        return True

    def _has_capacity(self) -> bool:
        return len(self._wire) < self._limits.requests

    def _may_begin(self) -> bool:
        return self._has_capacity() and self._has_room()

    def _begin(self, item: Wanted) -> None:
        self._rows += 1
        try:
            target = web_address(item.url)
        except BadUrl as error:
            self._finished.append(Got(item.number, "bad_url", str(error)))
        else:
            self._place(Row(item.number, target))

    def _place(self, row: Row) -> None:
        door = self._pass(row)
        if door is not None:
            self._waiting.put(door, row)

    def _pass(self, row: Row) -> Door | None:
        """Begin a row's request, or end the row; else the door before which it stands."""
        found = self._doors.open(row)
        while self._doors.errands:
            self._place(self._doors.errands.pop())
        if isinstance(found, tuple):
            return found
        self._idle_since_s = None  # it goes on
        if isinstance(found, Over):
            self._end(row, found)
        else:
            self._wire.start(found, row)
        return None

    # -- from a reply to an outcome

    def _take(self, row: Row, reply: Reply) -> None:
        row.spent_s += reply.seconds
        if self._pace is not None:
            self._pace.take(reply.size_bytes)
        why = Over(*outcome(reply, self._limits))
        asked_s = 0.0
        if why.reason in ("http_429", "http_503"):
            asked_s = retry_after_s(reply.headers.get("retry-after", ""))
        self._leave(row, why.reason, asked_s, reply.seconds if reply.silent else 0.0)
        if reply.status in _REDIRECTS:
            self._follow(row, reply)
        elif not (why.reason and self._try_again(row, why)):
            self._end(row, why, reply)

    def _leave(self, row: Row, reason: str, asked_s: float = 0.0, waited_s: float = 0.0) -> None:
        """Leave a host: the place is free for the next row."""
        self._doors.leave(row, reason, asked_s, waited_s)
        self._waiting.wake(("host", row.host), self._pass, self._may_begin)

    def _follow(self, row: Row, reply: Reply) -> None:
        row.hops += 1
        if row.hops > self._limits.redirects:
            self._end(row, Over("redirects", f"more than {self._limits.redirects} redirects"))
            return
        try:
            row.target = next_address(row.target, reply.headers.get("location", ""))
        except BadUrl as error:
            self._end(row, Over("redirects", str(error)))
        else:
            self._place(row)

    def _try_again(self, row: Row, why: Over) -> bool:
        """Whether the row is tried once more, later."""
        other_way = self._doors.has_other_way(row)
        jitter = random.random()  # noqa: S311
        wait_s = retry_wait_s(why.reason, row.tries, self._limits, other_way=other_way, jitter=jitter)
        if wait_s is None or self._limits.total_s - row.spent_s < LEAST_TRY_S:
            return False
        if not (other_way and why.reason in OTHER_WAY):
            if self._retries >= retries_allowed(self._rows) or self._hosts.failing(row.host):
                return False
            self._retries += 1
        row.begins, row.last = True, why
        self._waiting.again(time.monotonic() + wait_s, row)
        return True

    def _end(self, row: Row, why: Over, reply: Reply | None = None) -> None:
        """A row is over, or a request for robots.txt, for which rows wait."""
        if row.robots_of:
            self._doors.settle(row, reply or Reply(), why)
            self._waiting.wake(("robots", row.robots_of), self._pass, self._may_begin)
            return
        body, headers = b"", None
        if reply is not None and why.reason == GOOD:
            body, headers = reply.body, reply.headers
            self._good_s.append(row.spent_s)
        url, tries = row.target.url, row.tries
        self._finished.append(Got(row.number, why.reason, why.detail, body, url, tries, row.spent_s, headers))
        host = row.target.host
        # What is known from other rows alone is no news of the network, unless nothing else is heard.
        is_news = not (why.hearsay and self._hosts.fails_alone(host))
        if self._limits.alarm and why.reason != "cut_off" and is_news:
            self._alarm.heed(host, why.reason, body, known_good=self._hosts.known_good(host))

    def _give_up_the_silent(self) -> None:
        """End requests whose hosts never answered and keep these waiting for too long."""
        now_s, limit_s = time.monotonic(), self._limits.answer_s
        if now_s - self._minded_s < BEAT_S:
            return
        self._minded_s = now_s
        for slot in self._wire.slots:
            row, waited_s = slot.owner, now_s - slot.began_s
            if waited_s > limit_s and not slot.lines and not self._hosts.answered(row.host):
                self._wire.cancel(slot)
                detail = f"no answer within {limit_s:g} s"
                self._take(row, Reply(stopped="timeout", detail=detail, silent=True, seconds=waited_s))

    # -- the end

    def _mind_the_tail(self) -> None:
        """When no row is left to begin, what is under way or waits for long is cut off."""
        full = self._waiting.count >= WINDOW_ROWS
        allowance_s = tail_allowance_s(self._good_s, self._limits)
        if not self._has_capacity() or not (self._exhausted or full) or self._has_startable(allowance_s):
            self._idle_since_s = None
            return
        now_s = time.monotonic()
        since_s = self._idle_since_s = now_s if self._idle_since_s is None else self._idle_since_s
        if self._exhausted:
            self._cut_off(now_s, allowance_s)
        if now_s - since_s > allowance_s:
            self._idle_since_s = None
            self._send_home()

    def _has_startable(self, allowance_s: float) -> bool:
        """Whether a row waits for no more than a place at its host, which others have and will leave."""
        hosts = self._waited_for()
        receiving = {slot.owner.host for slot in self._wire.slots if slot.lines} if hosts else set()
        return any(host in receiving or not self._is_stuck(host, allowance_s) for host in hosts)

    def _waited_for(self) -> list[str]:
        """Hosts at which rows wait for a place, and that do not rest."""
        hosts = [name for kind, name in self._waiting.doors if kind == "host"]
        return [host for host in hosts if not self._hosts.rest(host)[0]]

    def _is_stuck(self, host: str, allowance_s: float) -> bool:
        """Whether a host keeps all its requests waiting: longer than a row may be at the end, or any host."""
        limit_s = max(allowance_s, self._limits.answer_s) if self._hosts.answered(host) else allowance_s
        return self._hosts.quiet_s(host) > limit_s

    def _cut_off(self, now_s: float, allowance_s: float) -> None:
        for host in self._waited_for():  # their rows would take the places of those that are cut off
            reason = self._hosts.failing(host) or "cut_off"
            for row in self._waiting.take(("host", host)):
                self._end(row, Over(reason, "its host has answered nothing for long", hearsay=True))
        for slot in self._wire.slots:
            row = slot.owner
            took_s = row.spent_s + now_s - slot.began_s
            if took_s > allowance_s:
                waited_s = 0.0 if slot.lines else now_s - slot.began_s
                self._wire.cancel(slot)
                row.spent_s = took_s
                self._leave(row, "cut_off", waited_s=waited_s)
                self._end(row, Over("cut_off", f"after {took_s:.1f} s"))

    def _send_home(self) -> None:
        """End the rows whose hosts rest while nothing else is left; at the very end all others too."""
        for door in self._waiting.doors:
            kind, host = door
            if kind == "host":
                _, reason = self._hosts.rest(host)
                why = Over(reason or "cut_off", "its host needs a pause", hearsay=True)
            elif self._exhausted:
                why = Over("cut_off", "its turn did not come")
            else:
                continue
            for row in self._waiting.take(door):
                self._end(row, why)
        if self._exhausted:
            for row in self._waiting.take_later():
                self._end(row, row.last)
