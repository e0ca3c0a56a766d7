"""The run at work, for all who look: read once from its own log, whoever started it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from threading import Lock

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from g3m.adapters.disk import Lease
from g3m.adapters.session import Session
from g3m.core.events import Noted, Retrying, RouteDropped, RunStarted, TaskFailed
from g3m.core.tally import Snapshot
from g3m.ui.logs import fact_text
from g3m.ui.story import Follower
from g3m.ui.web.words import LANGUAGES

TICK_S = 1.0
RECENT = 20
QUIET_S = 15.0
MOST_FOLLOWING = 32
"""More are told to come back; other pages must find connections, too."""


class Live:
    """The state of the last run. Any number of threads may ask; the files are read at most once a second."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._follower = Follower(session.store.work / "events.jsonl")
        self._lock = Lock()
        self._read_s = -TICK_S
        self._recent: deque[str] = deque(maxlen=RECENT)
        self._holder = ""
        self._parts: dict[str, tuple[float, str]] = {}
        self._following = 0
        self._over = asyncio.Event()

    def end(self) -> None:
        """End every stream; to be called in the loop that serves them."""
        self._over.set()

    def close(self) -> None:
        """Close the log."""
        with self._lock:
            self._follower.close()

    def state(self) -> Snapshot | None:
        """The state of the run; None if there never was one."""
        with self._lock:
            self._read()
            state = self._follower.now() if self._holder else self._follower.state
            return state if state.datasets else None

    def holder(self) -> str:
        """Who runs it, as `host:process`; empty if nobody does."""
        with self._lock:
            self._read()
            return self._holder

    def recent(self) -> list[str]:
        """What went wrong or was noted of late, the newest first."""
        with self._lock:
            self._read()
            return list(self._recent)

    def _read(self) -> None:
        now_s = time.monotonic()
        if now_s - self._read_s < TICK_S:
            return
        self._read_s = now_s
        for event in self._follower.read():
            if isinstance(event, RunStarted):
                self._recent.clear()
            elif isinstance(event, (Noted, Retrying, RouteDropped, TaskFailed)):
                self._recent.appendleft(fact_text(event))
        work = self._session.store.work
        leases = [Lease(work / "lock"), *self._session.store.part_leases()]
        holders = (lease.holder() for lease in leases)
        self._holder = next((f"{one['host']}:{one['pid']}" for one in holders if one), "")

    def routes(self, part: Callable[[str], str]) -> list[Route]:
        """`/live`: the part of the page that changes, sent whenever it does."""

        async def follow(request: Request) -> Response:
            lang = request.query_params.get("lang", "")
            headers = {"Cache-Control": "no-store"}
            if request.method == "HEAD":
                return Response(media_type="text/event-stream", headers=headers)
            if self._following >= MOST_FOLLOWING:
                return Response(status_code=503, headers={**headers, "Retry-After": "10"})
            told = self._told(part, lang if lang in LANGUAGES else "en")
            return StreamingResponse(told, media_type="text/event-stream", headers=headers)

        return [Route("/live", follow, methods=["GET"])]

    async def _told(self, part: Callable[[str], str], lang: str) -> AsyncIterator[str]:
        """Nothing is queued: who reads slowly is told the newest when he can take it."""
        self._following += 1
        last, quiet_s = "", 0.0
        try:
            while not self._over.is_set():
                text = await asyncio.to_thread(self._made, part, lang)
                if text != last:
                    last, quiet_s = text, 0.0
                    lines = "".join(f"data: {line}\n" for line in text.splitlines())
                    yield f"event: part\n{lines}\n"
                elif quiet_s >= QUIET_S:
                    quiet_s = 0.0
                    yield ": still here\n\n"  # a closed connection is noticed by writing
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._over.wait(), TICK_S)
                quiet_s += TICK_S
        finally:
            self._following -= 1

    def _made(self, part: Callable[[str], str], lang: str) -> str:
        """The part as all who follow in a language get it: drawn once a tick."""
        made_s, text = self._parts.get(lang, (-TICK_S, ""))
        now_s = time.monotonic()
        if now_s - made_s >= TICK_S:
            text = part(lang)
            self._parts[lang] = (now_s, text)
        return text
