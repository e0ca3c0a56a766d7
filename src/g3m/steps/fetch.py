"""fetch: one asset becomes verified bytes on the disk. Here is the only retry loop of the program.

Only here can one resume, wait, or change the route. A download continues where its journal can prove
it, over whichever route comes next; it gets its final name when the digest agrees. One route at a time:
`_download` is the seam behind which an engine may use many.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from g3m.adapters.parts import Part
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import (
    Changed,
    DigestMismatch,
    G3MError,
    Interrupted,
    Replaced,
    SourceError,
    StorageError,
    Unreachable,
)
from g3m.core.events import Event, Noted, Progressed, Retrying, RouteChosen, RouteDropped, TaskFinished
from g3m.core.plan import Plan, Task, asset_id
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.core.resume import Go, Wanted, check_end, decide
from g3m.core.retry import History
from g3m.core.retry import decide as decide_retry
from g3m.core.routes import Route, candidates
from g3m.core.secrets import host_of, mask
from g3m.steps.find import find, part_path, present, proof, whole_path, write_receipt

WRONG_LIMIT = 2
"""How often a place may deliver bytes with a wrong digest: once may be the line, twice is the place."""

RENEW_LIMIT = 3
"""How often an unpinned file may be begun anew because the server shows another version."""

TICK_S = 0.25


@dataclass(slots=True)
class _State:
    """What one fetch learns on its way."""

    task: Task
    asset: Asset
    routes: list[Route]
    size_bytes: int | None
    expected: tuple[Digest, ...]
    history: dict[str, History] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    served: bool = False
    last_error: G3MError | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    renewed: int = 0
    ticked_s: float = 0.0

    def wanted(self, part: Part, etag: str) -> Wanted:
        """What the next answer must fit; a size that only a server told binds no other version."""
        return Wanted(
            label=self.routes[0].place,
            offset_bytes=part.position,
            size_bytes=self.asset.size_bytes,
            etag=etag,
        )


def fetch(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Make an asset present: find it, or download and verify it."""
    asset = plan.assets[task.asset]
    receipt = present(session, asset)
    if receipt is None:
        yield from find(task, asset, plan, session)
        receipt = present(session, asset)
    if receipt is None:
        if session.settings.offline:
            raise Unreachable(f"{asset.name} is not here, and --offline forbids to fetch it")
        receipt = yield from _download(task, asset, session)
    yield TaskFinished(
        task=task.id, kind=task.kind, dataset=task.dataset, output=asset.name, size_bytes=receipt.size_bytes
    )


def _download(task: Task, asset: Asset, session: Session) -> Generator[Event, None, AssetReceipt]:
    settings = session.settings
    routes = candidates(asset.places, settings.endpoints, settings.mirrors, session.variables)
    state = _State(task, asset, list(routes), asset.size_bytes, asset.digests)
    part = Part(part_path(session, asset), asset.digests, asset.size_bytes)
    try:
        kept = part.restore(lambda _: session.check_stop())
        _remember(state, part)
        if kept:
            yield Noted(task=task.id, text=f"{kept} bytes are here from an earlier run")
        while not (yield from _complete(state, part)):
            yield from _attempt(state, part, session)
        receipt = AssetReceipt(
            id=asset_id(asset),
            name=asset.name,
            size_bytes=part.position,
            digests=part.digests(),
            proof=proof(asset, session, served=state.served),
        )
        # First the receipt: without the file it says nothing, and with it no kill can come between.
        write_receipt(session, receipt)
        part.finish(whole_path(session, asset))
    finally:
        part.close()
    return receipt


def _remember(state: _State, part: Part) -> None:
    """What a server had said of an unpinned file before the run was cut."""
    if not _pinned(state.asset):
        state.size_bytes = state.size_bytes or part.announced_bytes
        if part.announced_digests and not state.asset.digests:
            state.expected, state.served = tuple(map(Digest.parse, part.announced_digests)), True


def _complete(state: _State, part: Part) -> Generator[Event, None, bool]:
    """Whether every byte is here and right. Wrong bytes are thrown away and their places counted."""
    if state.size_bytes is None or part.position != state.size_bytes:
        return False
    wrong = part.wrong(state.expected)
    if wrong is None:
        return True
    places = list(part.places)
    names = ", ".join(dict.fromkeys(host_of(place) for place in places))
    label = f"the bytes from {names} have {_short(wrong[1])}, pinned is {_short(wrong[0])}"
    state.last_error = DigestMismatch(f"{state.asset.name}: {label}")
    for place in places:
        state.wrong[place] = state.wrong.get(place, 0) + 1
    _begin_anew(state, part)
    yield Noted(task=state.task.id, text=f"{label}; fetched again")
    for route in [route for route in state.routes if state.wrong.get(_name(route), 0) >= WRONG_LIMIT]:
        yield from _drop(state, route, "it delivered wrong bytes twice")
    # The next place goes first: if it has the right bytes, the culprit is known.
    state.routes.sort(key=lambda route: state.wrong.get(_name(route), 0))
    return False


def _attempt(state: _State, part: Part, session: Session) -> Iterator[Event]:
    """Ask the first route for the rest of the file; on failure wait, or drop the route."""
    session.check_stop()
    if not state.routes:
        raise _no_route_left(state)
    route = state.routes[0]
    before = part.position
    try:
        yield from _stream(state, part, route, session)
    except (Interrupted, StorageError):
        part.flush(_name(route))
        raise
    except SourceError as error:
        part.flush(_name(route))
        yield from _after_failure(state, part, before, error, session)


def _after_failure(
    state: _State, part: Part, before: int, error: SourceError, session: Session
) -> Iterator[Event]:
    """Begin anew, wait and try again, or drop the route."""
    route = state.routes[0]
    state.last_error = error
    if isinstance(error, Replaced) and before and state.renewed < RENEW_LIMIT and not _pinned(state.asset):
        # The file on the server is a new one, and nothing says that the old one was better.
        yield Noted(task=state.task.id, text=f"{error.message}; begun anew")
        state.renewed += 1
        _begin_anew(state, part)
        return
    history = state.history.get(route.url, History()).after(error, part.position - before)
    state.history[route.url] = history
    verdict = decide_retry(session.policy, error, history, session.jitter())
    if verdict.action == "drop":
        yield from _drop(state, route, error.message)
    else:
        yield Retrying(
            task=state.task.id, place=route.place, reason=error.message, wait_s=round(verdict.wait_s, 2)
        )
        session.wait(verdict.wait_s)


def _drop(state: _State, route: Route, reason: str) -> Iterator[Event]:
    state.routes.remove(route)
    state.reasons[f"{_name(route)} ({route.way})"] = reason
    yield RouteDropped(task=state.task.id, place=route.place, reason=reason)


def _no_route_left(state: _State) -> G3MError:
    """The last error, with what every route said."""
    kind = type(state.last_error) if state.last_error else Unreachable
    lines = "".join(f"\n  {route}: {reason}" for route, reason in state.reasons.items())
    hint = state.last_error.hint if state.last_error else None
    return kind(f"{state.asset.name}: no place delivered it{lines}", hint=hint)


def _stream(state: _State, part: Part, route: Route, session: Session) -> Iterator[Event]:
    """One request: take its bytes as long as they are what was planned."""
    # Under a pinned digest a validator proves nothing more, and mirrors disagree about it.
    etag = "" if _pinned(state.asset) else part.places.get(_name(route), "")
    if part.position and not _may_continue(state, part, route, etag):
        _begin_anew(state, part)
    wanted = state.wanted(part, etag)
    with session.http.open(route.url, offset_bytes=part.position, etag=etag) as response:
        go = decide(wanted, response.answer, now=session.now())
        if go.offset_bytes != part.position:
            _begin_anew(state, part)
        elif part.position and go.size_bytes not in (None, state.size_bytes):
            raise Replaced(f"{wanted.label}: the file on the server has another size now")
        _learn(state, go, response.answer.digests)
        served = state.expected if state.served else ()
        part.begin(_name(route), response.answer.etag, state.size_bytes, served)
        yield RouteChosen(task=state.task.id, place=route.place, way=route.way, offset_bytes=part.position)
        for data in response.chunks():
            session.check_stop()
            if state.size_bytes is not None and part.position + len(data) > state.size_bytes:
                raise Changed(
                    f"{wanted.label}: sends more than the {state.size_bytes} bytes that were announced"
                )
            part.write(data, _name(route))
            yield from _tick(state, part, session.monotonic())
    if state.size_bytes is None:
        # A body without a length: its end is all there is to know, and its digest becomes the record.
        state.size_bytes = part.position
    check_end(wanted, part.position, state.size_bytes)
    part.flush(_name(route))


def _begin_anew(state: _State, part: Part) -> None:
    """Throw the bytes away, and with them what the server had said of the whole."""
    part.restart()
    state.size_bytes, state.expected, state.served = state.asset.size_bytes, state.asset.digests, False


def _may_continue(state: _State, part: Part, route: Route, etag: str) -> bool:
    """Bytes of two places are mixed only under one pinned digest; without it only the same file goes on."""
    if _pinned(state.asset):
        return True
    return bool(etag) and list(part.places) == [_name(route)]


def _short(digest: Digest) -> str:
    return f"{digest.algorithm} {digest.hex[:12]}…"


def _name(route: Route) -> str:
    """The place of a route in journals and messages: its address without secrets."""
    return mask(route.url)


def _pinned(asset: Asset) -> bool:
    return bool(asset.digests) and asset.size_bytes is not None


def _learn(state: _State, go: Go, digests: Sequence[Digest]) -> None:
    """Take size and digest from the answer where the plan has none."""
    if state.size_bytes is None:
        state.size_bytes = go.size_bytes
    if not state.asset.digests and digests:
        state.expected, state.served = tuple(digests), True


def _tick(state: _State, part: Part, now_s: float) -> Iterator[Event]:
    if now_s - state.ticked_s >= TICK_S or part.position == state.size_bytes:
        state.ticked_s = now_s
        yield Progressed(task=state.task.id, done_bytes=part.position, total_bytes=state.size_bytes or 0)
