"""Spreads a verification over a Ray cluster: a shard is one unit of work, done by a worker that reads it.

What workers find comes back in the order of the shards, so that the report is that of one machine. They write
nothing: a worker may be ended at any time, and its shard is handed out again. Which pictures are equal is
found where the run began. Every node must see the shards under the same path.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import g3m
from g3m.adapters.session import Session
from g3m.core.errors import G3MError, Unreachable
from g3m.core.events import Event, Noted, Progressed
from g3m.core.receipt import Manifest
from g3m.runners.errand import SAME_HINT, not_there, other_version, refuse_secrets
from g3m.runners.local import WAIT_S
from g3m.runners.ray import AHEAD, LOSSES, connected, in_one_line, waiting_note
from g3m.steps.check import Walk, go_through
from g3m.steps.examine import Depth, Examined, Examiner, Piece, judging, pieces
from g3m.steps.ledger import Finding
from g3m.steps.publish import MANIFEST

Found = Examined | G3MError


@contextmanager
def survey(depth: Depth, session: Session) -> Iterator[Walk]:
    """What goes through shards on the cluster; at the end nobody does any more."""
    refuse_secrets(session.settings)
    with connected(session.settings.address) as ray:
        made = _Survey(ray, depth, session)
        try:
            yield made.walk
        finally:
            made.end()


class _Survey:
    """The shards that are with the cluster."""

    def __init__(self, ray: Any, depth: Depth, session: Session) -> None:
        self._ray, self._depth, self._session = ray, depth, session
        self._cores = session.settings.jobs or 1 if depth == "deep" else 1
        self._work = ray.remote(_examine)
        self._running: dict[Any, Piece] = {}
        self._done: dict[int, Found] = {}
        """By the number of the shard: what waits for its turn."""
        self._lost: Counter[Piece] = Counter()

    def walk(self, folder: Path, body: Manifest) -> Iterator[Event | Examined]:
        """Have the shards of one dataset examined."""
        task, turn, done_bytes = f"verify/{body.dataset}", 0, 0
        waiting = deque(pieces(folder.absolute(), body))  # a worker stands in another folder
        self._done.clear()
        if waiting and (note := waiting_note(self._ray, self._cores)):
            yield Noted(task=task, text=note)
        while turn < len(body.shards):
            self._session.check_stop()
            self._hand_out(waiting, turn)
            for piece, why in self._collect():
                if why:
                    waiting.appendleft(piece)
                    text = f"{piece.shard.name}: its worker was lost ({why}); it is handed out again"
                    yield Noted(task=task, text=text)
                else:
                    done_bytes += piece.shard.size_bytes
                    yield Progressed(task=task, done_bytes=done_bytes, total_bytes=body.size_bytes)
            while turn in self._done:
                found = self._done.pop(turn)
                turn += 1
                if isinstance(found, G3MError):
                    raise found
                found.damage = [_with_path(finding, folder) for finding in found.damage]
                yield found

    def end(self) -> None:
        """Whoever is still at work is ended."""
        for answer in self._running:
            with suppress(self._ray.exceptions.RayError):
                self._ray.cancel(answer, force=True)
        self._running.clear()

    def _hand_out(self, waiting: deque[Piece], turn: int) -> None:
        """No more than can run soon, and not so far ahead that much would wait for its turn."""
        ahead = max(AHEAD * int(self._ray.cluster_resources().get("CPU", 0) / self._cores), 1)
        while waiting and len(self._running) < ahead and waiting[0].number < turn + 2 * ahead:
            piece = waiting.popleft()
            options = {"num_cpus": self._cores, "max_retries": 0, "scheduling_strategy": "SPREAD"}
            work = self._work.options(name=f"verify/{piece.dataset}/{piece.shard.name}", **options)
            self._running[work.remote(piece, self._depth, self._cores, g3m.__version__)] = piece

    def _collect(self) -> Iterator[tuple[Piece, str]]:
        """The shards that are done; with a reason, if they must be handed out again."""
        ready, _ = self._ray.wait([*self._running], num_returns=1, timeout=WAIT_S)
        if ready:
            ready, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        exceptions = self._ray.exceptions
        for answer in ready:
            piece, why = self._running.pop(answer), ""
            found: Found
            try:
                found = self._ray.get(answer)
            except exceptions.RayTaskError as error:  # the worker cannot do what it is asked
                name = f"{piece.dataset}/{piece.shard.name}"
                found = G3MError(f"{name}: a worker failed: {in_one_line(error)}", hint=SAME_HINT)
            except exceptions.RayError as error:
                why = in_one_line(error)
                self._lost[piece] += 1
                if self._lost[piece] <= LOSSES:
                    yield piece, why
                    continue
                found = Unreachable(f"{piece.dataset}/{piece.shard.name}: its worker was lost: {why}")
            self._done[piece.number] = found
            yield piece, ""


def _examine(piece: Piece, depth: Depth, jobs: int, version: str) -> Found:
    """What runs in a worker."""
    if (other := other_version(version)) is not None:
        return other
    if not (piece.folder / MANIFEST).is_file():  # or every shard would be told as missing
        return not_there(str(piece.folder))
    found = Examined(is_looked=depth != "digests")
    try:
        with judging(depth, jobs) as judge:
            examiner = Examiner(piece.folder, piece.samples, judge, _go_on) if found.is_looked else None
            deque(go_through(piece, examiner, _go_on, found), maxlen=0)
    except G3MError as error:
        return error
    return found


def _with_path(finding: Finding, folder: Path) -> Finding:
    """What a worker found, with the name of the folder as it was given here."""
    return replace(finding, detail=finding.detail.replace(str(folder.absolute()), str(folder)))


def _go_on() -> None:
    """Nobody asks a worker to stop: it is ended."""
