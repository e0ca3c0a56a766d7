"""When a run over thousands of hosts is stopped as a whole: a dead network, or one page for everything.

It listens to how rows end, and to the first good bodies; what becomes of single rows and hosts is decided in
core/manners.py.
"""

from __future__ import annotations

from collections import Counter, deque

from g3m.core.errors import Unreachable
from g3m.core.manners import NETWORK
from g3m.core.outcomes import STAND_IN

FIRST_ROWS = 50
LAST_ROWS = 200
FAILED_SHARE = 0.95
LEAST_HOSTS = 5
LOGIN_BODIES = 20

_PAGE = -1


class Alarm:
    """Notices that the network is dead, or answers everything with one page, before many rows are lost."""

    def __init__(self) -> None:
        self._rows = 0
        self._last: deque[tuple[bool, str, bool]] = deque(maxlen=LAST_ROWS)
        self._failed = 0
        self._bodies = 0
        self._marks: Counter[int] = Counter()
        self._mark_hosts: dict[int, set[str]] = {}

    def heed(self, host: str, reason: str, body: bytes, *, known_good: bool) -> None:
        """One row came to an end: raise Unreachable if nearly all fail, or are the same page."""
        if self.outcome(reason, host, known_good=known_good):
            raise hidden_names() if reason == STAND_IN else dead_network()
        if body and self.wants_body and self.body(host, hash(body), page=is_page(body)):
            raise one_page()

    @property
    def wants_body(self) -> bool:
        """Whether the next good body is to be shown to it."""
        return self._bodies < FIRST_ROWS

    def outcome(self, reason: str, host: str, *, known_good: bool = False) -> bool:
        """One row that was asked for came to an end; True: the network is dead.

        `known_good`: that host has given pictures in this run, so that a failure is not simply its nature.
        """
        failed = reason in NETWORK
        if len(self._last) == LAST_ROWS:
            self._failed -= self._last[0][0]
        self._last.append((failed, host, known_good))
        self._failed += failed
        self._rows += 1
        enough = self._rows == FIRST_ROWS or len(self._last) == LAST_ROWS
        if not enough or self._failed <= FAILED_SHARE * len(self._last):
            return False
        hosts = {host for failed, host, _ in self._last if failed}
        return len(hosts) >= LEAST_HOSTS or all(good for failed, _, good in self._last if failed)

    def body(self, host: str, mark: int, *, page: bool) -> bool:
        """One of the first good bodies, equal ones with an equal `mark`; True: it is a login page or so."""
        self._bodies += 1
        marks = {mark, _PAGE} if page else {mark}
        for each in marks:
            self._marks[each] += 1
            self._mark_hosts.setdefault(each, set()).add(host)
        return any(
            self._marks[each] >= LOGIN_BODIES and len(self._mark_hosts[each]) >= LEAST_HOSTS for each in marks
        )


def dead_network() -> Unreachable:
    """The error for the first sign of the alarm."""
    return Unreachable(
        "nearly every URL fails: the network seems to be down",
        hint=(
            "no row was marked as failed: look at the network (g3m doctor), then run the same command again",
            "没有任何行被标记为失败：请检查网络（g3m doctor），然后重新运行同一命令",
        ),
    )


def hidden_names() -> Unreachable:
    """The same where a proxy program answers for names: a stranger's may lead anywhere behind it."""
    return Unreachable(
        "names are answered by a proxy program in TUN mode (fake-ip): where they lead cannot be checked here",
        hint=(
            "no row was marked as failed: name its port with --proxy, then run the same command again",
            "没有任何行被标记为失败：请用 --proxy 指定该代理程序的端口，然后重新运行同一命令",
        ),
    )


def one_page() -> Unreachable:
    """The error for the second."""
    return Unreachable(
        "many hosts answer with one and the same page",
        hint=(
            "sign in to the network (open a page in a browser), or name a proxy with --proxy, and run again",
            "请先登录网络（在浏览器中打开任意网页），或用 --proxy 指定代理，然后重新运行",
        ),
    )


def is_page(body: bytes) -> bool:
    """Whether a body begins as HTML does.

    >>> is_page(b"  <!DOCTYPE html><html>"), is_page(b"\\xff\\xd8\\xff")
    (True, False)
    """
    return (
        body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<head"))
    )
