"""One connection of a browser: how long it may ask and read, how many there may be, what a bad request gets.

What is asked is the gate's business. Other users of the machine can connect, too, so nobody may hold a place
by saying nothing or by reading nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from g3m.ui.web.gate import HEADERS

ASKING_S = 20.0
"""A request's head must be here so soon; a tunnel over a bad line takes a second or two."""

READING_S = 30.0
"""Who takes not a byte of an answer for so long, twice, is gone; a slow line is not."""

MOST_CONNECTIONS = 128
_BAD = b"This is no HTTP request that the pages answer.\n"
_FULL = b"Too many are asking at this moment.\n"
_turns = itertools.count()


class Doorway(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, within bounds."""

    _waiting: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _unread_bytes = sys.maxsize
    _has_read = False
    _turn = 0
    """Rises with what was asked last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._turn = next(_turns)
        if len(self.connections) > MOST_CONNECTIONS and not self._make_room():
            self._answer(503, _FULL)
            return
        self._expect()
        self._reading = self.loop.call_later(READING_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        if self._reading is not None:
            self._reading.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._turn = next(_turns)
            self._heard()
        elif self._waiting is None and self._is_idle():
            self._expect()

    def resume_writing(self) -> None:
        self._has_read = True
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # the name is uvicorn's
        """What cannot be read gets an answer with the headers of all others, if one is still possible."""
        self._answer(400, _BAD)

    def _answer(self, status: int, body: bytes) -> None:
        """The last words on this connection."""
        head: list[Any] = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            *HEADERS,
        ]
        try:
            for event in (
                h11.Response(status_code=status, headers=head),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer is under way already
            self.transport.abort()
            return
        self.transport.close()

    def _is_idle(self) -> bool:
        """Whether nothing is asked, or all of it was answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> bool:
        """Give up who has asked or read nothing for longest: browsers open another when they need one."""
        others = [one for one in self.connections if isinstance(one, Doorway) and one is not self]
        silent = [one for one in others if one._is_idle() or one.flow.write_paused]
        if not silent:
            return False
        oldest = min(silent, key=lambda one: one._turn)
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True

    def _look(self) -> None:
        """Give up who reads nothing of what was written to him."""
        unread_bytes = self.transport.get_write_buffer_size()
        if unread_bytes and unread_bytes >= self._unread_bytes and not self._has_read:
            self.transport.abort()
            return
        self._unread_bytes, self._has_read = unread_bytes or sys.maxsize, False
        self._reading = self.loop.call_later(READING_S, self._look)

    def _expect(self) -> None:
        self._waiting = self.loop.call_later(ASKING_S, self.transport.abort)

    def _heard(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
