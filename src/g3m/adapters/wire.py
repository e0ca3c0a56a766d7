"""Many small GETs at once for one thread: slots of one libcurl multi handle, driven by epoll.

The bytes of all bodies under way have a bound here. Retries, redirects, hosts and rows are for crowd.py.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pycurl

from g3m.adapters.curl import HttpOptions
from g3m.adapters.slot import Ask, Reply, Slot
from g3m.core.manners import CrowdLimits

_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class Wire:
    """Slots and their connections; for one thread."""

    def __init__(self, options: HttpOptions, limits: CrowdLimits, refuse: Callable[[str], str]) -> None:
        """`refuse` says why an address must not be connected to, or nothing."""
        self._options, self._limits = options, limits
        self._refuse = refuse
        self._poller = select.epoll()
        multi = self._multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        multi.setopt(pycurl.M_MAXCONNECTS, limits.requests + 64)
        self._timer_s: float | None = None
        self._slots: dict[pycurl.Curl, Slot] = {}
        self._free: list[Slot] = []
        self._opened: list[socket.socket] = []
        self._held = 0
        self._favoured: Slot | None = None
        self._paused: list[Slot] = []

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def slots(self) -> list[Slot]:
        """What is under way."""
        return list(self._slots.values())

    def start(self, ask: Ask, owner: Any) -> None:
        """Begin a request; it is told by `poll` when it has ended."""
        slot = self._free.pop() if self._free else Slot(self, self._options, self._limits)
        slot.load(ask)
        slot.owner, slot.began_s = owner, time.monotonic()
        self._slots[slot.easy] = slot
        self._multi.add_handle(slot.easy)

    def poll(self, timeout_s: float) -> list[tuple[Any, Reply]]:
        """Let libcurl work, and wait so long at most if there is nothing; the owners of what has ended."""
        if self._timer_s is not None:
            timeout_s = min(timeout_s, max(self._timer_s - time.monotonic(), 0.0))
        for descriptor, event in self._poller.poll(timeout_s):
            mask = pycurl.CSELECT_IN if event & ~select.EPOLLOUT else 0
            if event & select.EPOLLOUT:
                mask |= pycurl.CSELECT_OUT
            self._multi.socket_action(descriptor, mask)
        if self._timer_s is not None and time.monotonic() >= self._timer_s:
            self._timer_s = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._let_go()
        return self._ended()

    def refuse(self, address: str) -> str:
        """Why an address must not be connected to, or nothing."""
        return self._refuse(address)

    def keep(self, opened: socket.socket) -> socket.socket:
        """A socket that libcurl is given: it takes a copy of it, after which this one is closed."""
        self._opened.append(opened)
        return opened

    def cancel(self, slot: Slot) -> None:
        """Give a request up; nothing is told of it."""
        self._take_down(slot)
        self._go_on()

    def close(self) -> None:
        """Close every connection."""
        for slot in self.slots:
            self._take_down(slot)
        for slot in self._free:
            slot.easy.close()
        self._free.clear()
        self._multi.close()
        self._poller.close()
        self._let_go()

    def may_hold(self, slot: Slot, size_bytes: int) -> bool:
        """Whether so many more bytes may be held for a slot; if not, it pauses until others have ended."""
        if self._held + size_bytes > self._limits.held_bytes:
            if self._favoured is None:
                self._favoured = slot
            if self._favoured is not slot:
                self._paused.append(slot)
                return False
        self._held += size_bytes
        return True

    def _let_go(self) -> None:
        for opened in self._opened:
            opened.close()
        self._opened.clear()

    def _ended(self) -> list[tuple[Any, Reply]]:
        ended: list[tuple[Any, Reply]] = []
        left = 1
        while left:
            left, good, bad = self._multi.info_read()
            ended += [self._end(easy, 0, "") for easy in good]
            ended += [self._end(easy, code, words) for easy, code, words in bad]
        if ended:
            self._go_on()
        return ended

    def _go_on(self) -> None:
        """Let those that paused read on, after another has left."""
        paused, self._paused = self._paused, []
        for slot in paused:
            if slot.easy in self._slots:
                slot.easy.pause(pycurl.PAUSE_CONT)

    def _end(self, easy: pycurl.Curl, code: int, words: str) -> tuple[Any, Reply]:
        slot = self._slots[easy]
        reply = slot.finish(code, words)
        owner = slot.owner
        self._take_down(slot)
        return owner, reply

    def _take_down(self, slot: Slot) -> None:
        del self._slots[slot.easy]
        self._multi.remove_handle(slot.easy)
        self._held -= sum(map(len, slot.pieces))
        slot.forget()
        if self._favoured is slot:
            self._favoured = None
        self._free.append(slot)

    def _watch(self, what: int, descriptor: int, *_: Any) -> None:
        """Libcurl says which sockets to wait for."""
        if what == pycurl.POLL_REMOVE:
            with suppress(OSError):
                self._poller.unregister(descriptor)
            return
        try:
            self._poller.register(descriptor, _EVENTS[what])
        except FileExistsError:
            self._poller.modify(descriptor, _EVENTS[what])

    def _set_timer(self, milliseconds: int) -> None:
        self._timer_s = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
