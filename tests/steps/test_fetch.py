"""steps/fetch.py: over a bad network the end is the right bytes or a named error, within bounded requests."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import TracebackType
from typing import Any

import pytest
from tests.hostile.liars import Both
from tests.steps.conftest import CALM, SPEED

from g3m.adapters import http, parts
from g3m.adapters.http import Came, Ended, Headed, Occurrence
from g3m.adapters.pace import Pace
from g3m.adapters.parts import Part, claimed_bytes
from g3m.core import errors
from g3m.core.digest import Digest
from g3m.core.errors import (
    LANGUAGES,
    Changed,
    ContentError,
    DigestMismatch,
    Interrupted,
    Locked,
    Missing,
    NoSpace,
    Refused,
    SettingsError,
    SourceError,
    Throttled,
    Truncated,
    Unreachable,
)
from g3m.core.events import (
    Noted,
    Progressed,
    Retrying,
    RouteChosen,
    RouteDropped,
    RoutesMeasured,
    TaskFinished,
)
from g3m.core.limits import Timetable
from g3m.core.plan import fetch_task
from g3m.core.recipe import Asset
from g3m.core.resume import RETRY_AFTER_LIMIT_S, Answer
from g3m.core.retry import Policy
from g3m.core.secrets import host_of
from g3m.lab import mischief as lab
from g3m.lab import origin as lab_origin
from g3m.lab.exchange import Exchange
from g3m.lab.messages import INVERTED, Reply
from g3m.steps import suspects
from g3m.steps.fetch import fetch
from g3m.steps.find import part_path, present, whole_path

HALF = 12_000
WRONG_BYTE = 17_000

# One of each kind, set for a file of 24,000 bytes; redirects get their target in the test.
KINDS: dict[str, Any] = {
    "Cut": lab.Cut(10_000),
    "Reset": lab.Reset(10_000),
    "Stall": lab.Stall(10_000, 2),
    "Silence": lab.Silence(),
    "Trickle": lab.Trickle(400_000),
    "Flip": lab.Flip(WRONG_BYTE),
    "IgnoreRange": lab.IgnoreRange(),
    "WrongRange": lab.WrongRange(-100),
    "Status": lab.Status(503, retry_after=2),
    "Page": lab.Page(),
    "Gzip": lab.Gzip(),
    "Encoding": lab.Encoding("gzip"),
    "Changed": lab.Changed(),
    "Shorter": lab.Shorter(100),
    "Longer": lab.Longer(100),
    "NoLength": lab.NoLength(),
    "RedirectTo": lab.RedirectTo("http://127.0.0.1:1"),
    "Redirect308": lab.Redirect308("http://127.0.0.1:1"),
    "RedirectLoop": lab.RedirectLoop(),
}

HARMLESS = {"Cut", "Reset", "Stall", "Trickle", "IgnoreRange", "NoLength", "RedirectTo", "Redirect308"}
"""One place suffices however often these happen: every attempt brings bytes or the whole."""

PASSING = HARMLESS | {"Silence", "Flip", "Status"}
"""One place suffices if it happens once."""


def _mischief(bench: Any, kind: str, pieces: bool = False) -> Any:
    if kind in ("RedirectTo", "Redirect308"):
        return type(KINDS[kind])(bench.mirror.url)
    if pieces and kind in ("Cut", "Reset"):
        return type(KINDS[kind])(400)
    return lab.Stall(900, 2) if pieces and kind == "Stall" else KINDS[kind]


def test_every_kind_of_mischief_is_tried() -> None:
    """A kind that the lab learns must be met by the fetch, too."""
    assert {kind.__name__ for kind in lab.KINDS} == set(KINDS)


def _judge(bench: Any, asset: Asset, session: Any, outcome: Any, right: list[bytes]) -> None:
    """The right bytes under their name with a receipt, or a named error and a journal that can be trusted."""
    whole, receipt = bench.whole(asset, session), present(session, asset)
    path = part_path(session, asset)
    if outcome.error is None:
        assert whole in right
        assert receipt is not None
        assert f"sha256:{hashlib.sha256(whole).hexdigest()}" in map(str, receipt.digests)
        assert outcome.events[-1].output == "blob.bin"
        assert not path.exists()
        assert not path.with_suffix(".journal").exists()
    else:
        assert type(outcome.error) in errors.all_errors()
        assert isinstance(outcome.error, (SourceError, ContentError))
        assert host_of(bench.origin.url) in outcome.error.message
        assert whole is receipt is None
        assert outcome.of(RouteDropped)
        bench.remains(asset, session)


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("mirror", [False, True], ids=["alone", "mirror"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("kind", KINDS)
def test_right_bytes_or_a_named_error(
    bench: Any, kind: str, times: int | None, resumed: bool, pinned: bool, mirror: bool, pieces: bool
) -> None:
    """Whatever goes wrong: never wrong bytes under the final name, never an endless loop, never a hang."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, _mischief(bench, kind, pieces), times=times)
    session = bench.session(pieces=pieces, impatient=kind == "Stall")
    asset = bench.asset(bench.origin, *([bench.mirror] if mirror else []), pinned=pinned)
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    # A server with a new version, true to itself, is believed where nothing is pinned.
    new = bench.blob.translate(INVERTED)
    right = [bench.blob, new] if kind == "Changed" and not pinned else [bench.blob]
    _judge(bench, asset, session, outcome, right)
    must = mirror or kind in HARMLESS or (times and kind in PASSING)
    assert outcome.error is None or not must
    if outcome.error is not None:
        bench.origin.be_honest()
        again = bench.fetch(asset, bench.session(pieces=pieces))
        assert again.error is None
        assert bench.whole(asset, session) == bench.blob


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"Flip", "Shorter", "Changed"}))
def test_without_any_digest_bytes_are_still_never_mixed(
    bench: Any, kind: str, resumed: bool, times: int | None, pieces: bool
) -> None:
    """Where neither recipe nor server has a digest, only the rules about ranges and validators protect."""
    bench.origin.mischief(bench.path, _mischief(bench, kind, pieces), times=times)
    session = bench.session(pieces=pieces, impatient=kind == "Stall")
    asset = bench.asset(pinned=False)
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    _judge(bench, asset, session, outcome, [bench.blob])
    assert outcome.error is None or isinstance(outcome.error, SourceError)


@pytest.mark.parametrize("seed", range(120))
def test_misfortunes_in_any_company(bench: Any, seed: int) -> None:
    """Several kinds at once, at both hosts, in any order: the right bytes or a named error, and honest in the end."""
    dice = random.Random(seed)
    pieces, pinned, mirror = dice.random() < 0.6, dice.random() < 0.6, dice.random() < 0.6
    bench.serve(google=dice.random() < 0.5 or not pinned)
    kinds = [kind for kind in KINDS if "Redirect" not in kind or kind == "RedirectLoop"]
    for origin in (bench.origin, bench.mirror)[: 1 + mirror]:
        for _ in range(dice.randrange(1, 4)):
            kind, times = dice.choice(kinds), dice.choice([1, 1, 2, 5, None])
            origin.mischief(bench.path, _mischief(bench, kind, pieces), times=times)
    session = bench.session(pieces=pieces, impatient=True)
    asset = bench.asset(bench.origin, *([bench.mirror] if mirror else []), pinned=pinned)
    if dice.random() < 0.4:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    new = bench.blob.translate(INVERTED)
    _judge(bench, asset, session, outcome, [bench.blob] if pinned else [bench.blob, new])
    if outcome.error is not None:
        bench.origin.be_honest()
        bench.mirror.be_honest()
        assert bench.fetch(asset, bench.session(pieces=pieces)).error is None
        assert bench.whole(asset, session) == bench.blob


@dataclass(frozen=True, slots=True)
class Bare:
    """An answer about a file without its validator; `only` where the status is this one."""

    only: int = 0

    def spoil(self, exchange: Exchange) -> Reply | None:
        if exchange.resource is None or self.only not in (0, exchange.honest.status):
            return None
        return exchange.honest.with_header("ETag", None)


@dataclass(frozen=True, slots=True)
class Lies:
    """Wrong bytes at these offsets of the file, whichever of them an answer holds."""

    offsets: tuple[int, ...]

    def spoil(self, exchange: Exchange) -> Reply | None:
        body = exchange.honest.body
        if exchange.resource is None or not exchange.has_body:
            return None
        return replace(exchange.honest, body=replace(body, flipped=self.offsets))


@dataclass(frozen=True, slots=True)
class Ranges:
    """Another kind of mischief, for answers to requests for a range that begins behind `after` only."""

    kind: Any
    after: int = 0

    def spoil(self, exchange: Exchange) -> Reply | None:
        asked = exchange.asked.headers.get("range", "")
        late = asked and int(asked.partition("=")[2].partition("-")[0]) > self.after
        return self.kind.spoil(exchange) if late else None


def _texts(outcome: Any) -> list[str]:
    return [event.text for event in outcome.of(Noted)]


def _dropped(outcome: Any) -> dict[str, str]:
    return {event.place: event.reason for event in outcome.of(RouteDropped)}


# Several misfortunes, and the end of patience.


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize(
    ("kinds", "pinned"),
    [
        (["WrongRange", "Cut"], False),
        (["Longer"], False),
        (["WrongRange", "Cut"], True),
        (["Flip", "Cut"], True),
        (["Status", "Cut"], True),
        (["Gzip", "Cut"], False),
        (["Changed", "Cut"], True),
    ],
)
def test_two_misfortunes_for_ever_end_too(bench: Any, kinds: list[str], pinned: bool, pieces: bool) -> None:
    """A way that always spoils both kinds of answer wears out."""
    for kind in kinds:
        bench.origin.mischief(bench.path, KINDS[kind], times=None)
    session, asset = bench.session(pieces=pieces), bench.asset(pinned=pinned)
    outcome = bench.fetch(asset, session)
    if kinds == ["Longer"] and pieces:
        return  # what comes too much behind the last piece is all that an unpinned file shows of it
    assert isinstance(outcome.error, (SourceError, ContentError))
    assert bench.whole(asset, session) is None


@pytest.mark.parametrize("first", [lab.IgnoreRange(), lab.NoLength()], ids=["whole", "chunked"])
@pytest.mark.parametrize("second", [lab.Cut(5000), lab.Reset(5000)], ids=["cut", "reset"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
def test_whole_answers_that_always_break_end_too(
    bench: Any, first: Any, second: Any, resumed: bool, pinned: bool
) -> None:
    """Bytes that are here already are no progress: who sends nothing else is asked no more."""
    bench.origin.mischief(bench.path, Both(first, second), times=None)
    bench.origin.mischief(bench.path, second, times=None)
    session, asset = bench.session(), bench.asset(pinned=pinned)
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    _judge(bench, asset, session, outcome, [bench.blob])


def test_two_versions_in_turns_end_too(bench: Any) -> None:
    """Behind two servers that hold different versions, an unpinned file on a cutting link ends or fails."""
    for _ in range(100):
        bench.origin.mischief(bench.path, lab.Cut(10_000))
        bench.origin.mischief(bench.path, lab.Changed())
    session, asset = bench.session(), bench.asset(pinned=False)
    outcome = bench.fetch(asset, session)
    _judge(bench, asset, session, outcome, [bench.blob, bench.blob.translate(INVERTED)])


def test_a_rest_costs_no_processor(bench: Any) -> None:
    """While every route rests, nothing is computed: not even whether something has come."""
    bench.origin.mischief(bench.path, lab.Status(503, retry_after=40))
    session, asset = bench.session(), bench.asset()
    begun_s, used_s = time.monotonic(), time.thread_time()
    assert bench.fetch(asset, session).error is None
    assert time.monotonic() - begun_s >= 40 / SPEED
    assert time.thread_time() - used_s < 0.3


# Wrong bytes, and whose they are.


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
def test_one_wrong_byte_is_found_and_repaired(bench: Any, resumed: bool, pieces: bool) -> None:
    """One flipped bit in the middle costs one more fetch, and is said with its place and its offset."""
    bench.clock.speed = CALM
    bench.origin.mischief(bench.path, lab.Flip(WRONG_BYTE))
    session, asset = bench.session(pieces=pieces), bench.asset()
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert [request.mischief for request in bench.requests].count("Flip") == 1
    if not pieces:
        assert len(bench.requests) == 2
    text = "\n".join(_texts(outcome))
    host = host_of(bench.origin.url)
    if not pieces or "culprit" in text:  # else another connection was faster than the wrong byte
        assert asset.digests[0].hex[:12] in text
        assert f"{host} had delivered 1 wrong byte, the first at {WRONG_BYTE}" in text


def test_a_wrong_byte_kept_on_the_disk_is_repaired(bench: Any) -> None:
    """Half a file of wrong bytes with a proper journal is not built upon for ever."""
    bench.clock.speed = CALM
    session, asset = bench.session(), bench.asset()
    bench.keep_half(asset, session, bytes(HALF))
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert len(bench.requests) == 2


@pytest.mark.parametrize("live", ["origin first", "mirror first"])
def test_the_culprit_is_named_to_the_byte(bench: Any, live: str) -> None:
    """Three wrong bytes of an earlier run at a mirror: its host, their number and the first are said."""
    origins = [bench.origin, bench.mirror]
    session, asset = bench.session(), bench.asset(*(origins if live == "origin first" else origins[::-1]))
    wrong = bytearray(bench.blob[:HALF])
    for offset in (5000, 5001, 11_999):
        wrong[offset] ^= 255
    bench.mirror.mischief(bench.path, lab.Status(404), times=None)
    bench.keep_half(
        asset, session, bytes(wrong), place=origins.index(bench.mirror) ^ (live != "origin first")
    )
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    said = f"{host_of(bench.mirror.url)} had delivered 3 wrong bytes, the first at 5000"
    assert said in "\n".join(_texts(outcome))
    assert host_of(bench.origin.url) not in _dropped(outcome)


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("rank", [0, 1], ids=["liar first", "liar last"])
@pytest.mark.parametrize("wrong", [(5,), (11_000,), tuple(range(0, 24_000, 997))], ids=["5", "11000", "many"])
def test_a_liar_of_two_is_found(bench: Any, wrong: tuple[int, ...], rank: int, pieces: bool) -> None:
    """Whichever of two places lies, in whatever bytes: the honest one's bytes win, and nobody else is blamed."""
    liar, honest = bench.origin, bench.mirror
    liar.mischief(bench.path, Lies(wrong), times=None)
    session, asset = (
        bench.session(pieces=pieces),
        bench.asset(*((liar, honest) if rank == 0 else (honest, liar))),
    )
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    text = "\n".join(_texts(outcome))
    assert f"{host_of(honest.url)} had delivered" not in text
    if "looking for the culprit" in text:
        assert f"{host_of(liar.url)} had delivered" in text
        assert "wrong bytes" in _dropped(outcome)[host_of(liar.url)]
        first = int(text.rpartition("the first at ")[2].partition(";")[0])
        count = int(text.rpartition("had delivered ")[2].partition(" ")[0])
        assert first in wrong
        assert 1 <= count <= len(wrong)


def test_who_was_suspected_comes_back_when_the_liar_has_gone(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The honest place is suspected first, then the other says no more: it was not proved against either."""

    class Changing:
        now: Any = Lies((5,))

        def spoil(self, exchange: Any) -> Any:
            return self.now.spoil(exchange)

    shares: list[dict[str, int]] = []
    liar, honest, mischief = bench.origin, bench.mirror, Changing()
    liar.mischief(bench.path, mischief, times=None)

    def choose(found: dict[str, int], _: object) -> str:
        shares.append(found)
        mischief.now = lab.Status(404)
        return next(name for name in found if host_of(name) == host_of((liar if shares[1:] else honest).url))

    monkeypatch.setattr(suspects, "_choose", choose)
    session, asset = bench.session(pieces=True), bench.asset(liar, honest)
    outcome = bench.fetch(asset, session)
    assert [len(found) for found in shares] == [2, 2]
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


@pytest.mark.parametrize("liar", [0, 1, 2])
def test_a_liar_among_three_is_found(bench: Any, liar: int, tmp_path: Any) -> None:
    """Of three places two agree, wherever the third stands."""
    third = f"/third{bench.path}"
    bench.origin.mount(third, bench.folder / f"{id(bench.origin)}" / "blob.bin")
    places = [
        f"{bench.origin.url}{bench.path}",
        f"{bench.mirror.url}{bench.path}",
        f"{bench.origin.url}{third}",
    ]
    spoiled = (bench.origin, bench.mirror, bench.origin)[liar]
    spoiled.mischief(third if liar == 2 else bench.path, Lies(tuple(range(0, 24_000, 500))), times=None)
    session, asset = bench.session(pieces=True), replace(bench.asset(), places=tuple(places))
    for number in range(3):
        # Each has delivered a third already, so that everybody is a suspect.
        part = Part(part_path(session, asset), asset.digests, asset.size_bytes)
        part.restore()
        data = bytearray(bench.blob[number * 8000 : (number + 1) * 8000])
        if number == liar:
            data[::500] = bytes(value ^ 255 for value in data[::500])
        part.begin(places[number], bench.etag, len(bench.blob))
        part.write(0, number * 8000, [bytes(data)], places[number])
        part.flush()
        part.settle()
        part.close()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    said = [text for text in _texts(outcome) if "had delivered" in text]
    assert len(said) == 1
    assert f"{host_of(places[liar])} had delivered 16 wrong bytes, the first at {liar * 8000};" in said[0]
    assert len(outcome.of(RouteDropped)) == 1
    sent = sum(request.sent_bytes for request in [*bench.origin.requests, *bench.mirror.requests])
    assert sent <= 8000 + 9 * 8000, "the liar's third, and samples"


@pytest.mark.parametrize("rank", [0, 1], ids=["liar first", "liar last"])
def test_a_liar_that_is_gone_is_replaced(bench: Any, rank: int) -> None:
    """Wrong bytes of a place that answers no more are fetched from the one that is left."""
    liar, honest = bench.origin, bench.mirror
    liar.mischief(bench.path, lab.Status(404), times=None)
    session, asset = bench.session(), bench.asset(*((liar, honest) if rank == 0 else (honest, liar)))
    bench.keep_half(asset, session, bytes(HALF), place=rank)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


def test_wrong_bytes_of_a_place_that_is_no_route_any_more(bench: Any) -> None:
    """A mirror that the user took out of the settings after it had lied is suspected first."""
    bench.clock.speed = CALM
    session = bench.session()
    former = replace(bench.asset(), places=("http://127.0.0.1:1/gone/blob.bin",))
    bench.keep_half(former, session, bytes(HALF))
    asset = bench.asset()
    assert part_path(session, former) == part_path(session, asset)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert "127.0.0.1:1 had delivered" in "\n".join(_texts(outcome))
    assert sum(request.sent_bytes for request in bench.requests) <= len(bench.blob) + HALF, "and a sample"


def test_one_wrong_byte_in_a_megabyte(bench: Any) -> None:
    """A mirror that spoils one byte in each megabyte of a larger file is found, and only its bytes come again."""
    mebibyte = 2**20
    bench.blob = random.Random(8).randbytes(6 * mebibyte)
    bench.serve()
    wrong = tuple(range(700_000, len(bench.blob), mebibyte))
    for origin, kind in ((bench.origin, None), (bench.mirror, Lies(wrong))):
        slow = lab.Trickle(12_000_000)
        origin.mischief(bench.path, slow if kind is None else Both(kind, slow), times=None)
    session, asset = bench.session(), bench.asset(bench.origin, bench.mirror)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    said = [text for text in _texts(outcome) if "had delivered" in text]
    if said:
        assert len(said) == 1
        assert host_of(bench.mirror.url) in said[0]
        assert int(said[0].partition("the first at ")[2].partition(";")[0]) in wrong
        assert list(_dropped(outcome)) == [host_of(bench.mirror.url)]
    again = bench.fetch(asset, session)
    assert again.error is None


def test_a_mirror_that_always_lies_is_dropped_when_it_is_alone(bench: Any) -> None:
    """The only place delivers wrong bytes twice: it is named, the digest is said, and nothing is kept."""
    bench.clock.speed = CALM
    bench.origin.mischief(bench.path, lab.Flip(5), times=None)
    session, asset = bench.session(), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, DigestMismatch)
    assert outcome.error.exit_code == 7
    host = host_of(bench.origin.url)
    assert ["wrong bytes" in event.reason for event in outcome.of(RouteDropped)] == [True]
    assert host in outcome.error.message
    assert asset.digests[0].hex[:12] in _texts(outcome)[0]
    assert bench.whole(asset, session) is None
    assert len(bench.requests) == 2


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("same", [False, True], ids=["different lies", "the same lie"])
def test_two_liars_are_both_named(bench: Any, same: bool, pieces: bool) -> None:
    """Where nobody tells the truth the end is the mismatch, with both hosts."""
    bench.origin.mischief(bench.path, lab.Flip(5), times=None)
    bench.mirror.mischief(bench.path, lab.Flip(5 if same else 20_000), times=None)
    session, asset = bench.session(pieces=pieces), bench.asset(bench.origin, bench.mirror)
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, DigestMismatch)
    for origin in (bench.origin, bench.mirror):
        assert host_of(origin.url) in outcome.error.message
    assert all("wrong bytes" in reason for reason in _dropped(outcome).values())
    assert bench.whole(asset, session) is None
    if not pieces:
        assert len(bench.requests) <= 8


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_place_that_lies_now_and_then(bench: Any, times: int, rank: int) -> None:
    """Lies that stop cost rounds, and never the file."""
    bench.origin.mischief(bench.path, Lies((3, 23_000)), times=times)
    order = (bench.origin, bench.mirror) if rank == 0 else (bench.mirror, bench.origin)
    session, asset = bench.session(pieces=True), bench.asset(*order)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


def test_two_mirrors_of_one_host_are_told_apart(bench: Any) -> None:
    """A lying path is no reason to distrust another path of the same host."""
    local = bench.folder / "liar" / "blob.bin"
    local.parent.mkdir()
    local.write_bytes(bytes(len(bench.blob)))
    bench.origin.mount(f"/liar{bench.path}", local)
    honest = bench.asset()
    asset = replace(honest, places=(f"{bench.origin.url}/liar{bench.path}", *honest.places))
    session = bench.session()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


def test_every_reason_of_two_mirrors_of_one_host_is_reported(bench: Any) -> None:
    """Two paths of one host fail in two ways: the error says both."""
    other = f"{bench.origin.url}/other{bench.path}"
    asset = replace(bench.asset(), places=(other, *bench.asset().places))
    bench.origin.mischief(bench.path, lab.Status(403), times=None)
    outcome = bench.fetch(asset, bench.session())
    assert "403" in outcome.error.message
    assert "404" in outcome.error.message


# Going on where something broke.


@pytest.mark.parametrize("kind", ["Cut", "Reset", "Stall"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
def test_a_cut_is_continued_where_it_broke(bench: Any, kind: str, pinned: bool) -> None:
    """The second request begins at the first missing byte, and no byte is sent twice."""
    bench.clock.speed = SPEED if kind == "Stall" else CALM
    bench.origin.mischief(bench.path, KINDS[kind])
    session, asset = bench.session(impatient=kind == "Stall"), bench.asset(pinned=pinned)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    first, second = bench.requests
    assert first.headers.get("range") == ("bytes=0-23999" if pinned else None)
    assert second.headers["range"] == "bytes=10000-23999"
    assert second.headers.get("if-range") == (None if pinned else bench.etag)
    assert second.status == 206
    # What a stalled server holds back it may send into the closed connection later.
    assert first.sent_bytes + second.sent_bytes == len(bench.blob)
    (retrying,) = outcome.of(Retrying)
    assert retrying.wait_s == 0
    assert retrying.place == host_of(bench.origin.url)


def test_a_cut_at_every_thousand_bytes_wears_nothing_out(bench: Any) -> None:
    """A connection that always breaks after some bytes is normal: no wait, no dropped route, no byte twice."""
    bench.clock.speed = CALM
    bench.origin.mischief(bench.path, lab.Cut(1000), times=None)
    session, asset = bench.session(), bench.asset()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert sum(request.sent_bytes for request in bench.requests) == len(bench.blob)
    assert all(event.wait_s == 0 for event in outcome.of(Retrying))
    assert not outcome.of(RouteDropped)


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
def test_a_killed_run_is_continued(bench: Any, pinned: bool, pieces: bool) -> None:
    """Only what is missing is fetched in the next run, and it is said that bytes were there."""
    bench.clock.speed = CALM
    session, asset = bench.session(pieces=pieces), bench.asset(pinned=pinned)
    bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    assert bench.whole(asset, session) == bench.blob
    assert sum(request.sent_bytes for request in bench.requests) == len(bench.blob) - HALF
    assert f"{HALF} bytes are here" in _texts(outcome)[0]
    if not pieces:
        (request,) = bench.requests
        assert request.headers["range"] == f"bytes={HALF}-23999"


def test_holes_in_the_middle_are_filled(bench: Any) -> None:
    """A run that died with several connections leaves islands: each stays, and only the water is fetched."""
    bench.clock.speed = CALM
    session, asset = bench.session(), bench.asset()
    part = Part(part_path(session, asset), asset.digests, asset.size_bytes)
    part.restore()
    for number, start in enumerate((1000, 9000, 20_000)):
        part.write(number, start, [bench.blob[start : start + 3000]], asset.places[0])
    part.flush()
    part.settle()
    part.close()
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert sum(request.sent_bytes for request in bench.requests) == len(bench.blob) - 9000


@pytest.mark.parametrize("early", [False, True], ids=["while fetching", "before"])
def test_bytes_that_rotted_on_the_disk_come_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """What an earlier run had claimed and the disk lost is noticed, whenever it is, and fetched again, once."""
    bench.clock.speed = CALM
    session, asset = bench.session(), bench.asset()
    if early:
        real = Part.claimed

        def late(part: Part) -> Any:
            while part._busy or part._hashable():
                time.sleep(0.001)
            return real(part)

        monkeypatch.setattr(Part, "claimed", late)
    bench.keep_half(asset, session, bench.blob[:HALF])
    path = part_path(session, asset)
    rotten = bytearray(path.read_bytes())
    rotten[77] ^= 1
    path.write_bytes(rotten)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert not outcome.of(RouteDropped)
    assert sum(request.sent_bytes for request in bench.requests) == len(bench.blob)


def test_an_abandoned_fetch_is_continued(bench: Any) -> None:
    """A run that is dropped between two events loses nothing that had come."""
    bench.clock.speed = CALM
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    session, asset = bench.session(), bench.asset()
    steps = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Retrying) for event in steps)
    steps.close()
    assert claimed_bytes(part_path(session, asset)) == 10_000
    assert bench.fetch(asset, session).error is None
    assert [request.headers["range"] for request in bench.requests] == ["bytes=0-23999", "bytes=10000-23999"]


def test_a_complete_part_of_a_pinned_file_needs_no_request(bench: Any) -> None:
    """A run killed between the last byte and the rename asks nobody."""
    session, asset = bench.session(), bench.asset()
    bench.keep_half(asset, session, bench.blob)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.requests == []


def test_a_complete_part_of_unknown_size_meets_416(bench: Any) -> None:
    """A file without announced size is asked for its next byte, refused, and right in the end."""
    bench.clock.speed = CALM
    session, asset = bench.session(), bench.asset(pinned=False)
    part = Part(part_path(session, asset), (), None)
    part.restore()
    part.begin(asset.places[0], bench.etag, None)
    part.write(0, 0, [bench.blob], asset.places[0])
    part.flush()
    part.settle()
    part.close()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.requests[0].status == 416
    assert len(bench.requests) <= 2


def test_a_finished_asset_is_not_asked_for_again(bench: Any) -> None:
    """The second run makes no request."""
    bench.clock.speed = CALM
    session, asset = bench.session(), bench.asset()
    bench.fetch(asset, session)
    asked = len(bench.requests)
    again = bench.fetch(asset, session)
    assert [type(event) for event in again.events] == [TaskFinished]
    assert len(bench.requests) == asked == 1


def test_a_finished_asset_that_was_cut_is_fetched_again(bench: Any) -> None:
    """A receipt without its bytes proves nothing."""
    session, asset = bench.session(), bench.asset()
    bench.fetch(asset, session)
    whole_path(session, asset).write_bytes(b"short")
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


def test_an_empty_file_is_a_file(bench: Any) -> None:
    """No byte is a size like any other: pinned it needs no request, unpinned one."""
    bench.blob = b""
    bench.serve()
    for pinned in (True, False):
        session, asset = bench.session(), bench.asset(pinned=pinned)
        outcome = bench.fetch(asset, session)
        assert outcome.error is None
        assert bench.whole(asset, session) == b""


def test_two_runs_on_one_file(bench: Any) -> None:
    """Whoever finds that somebody else writes the same part gives way before he publishes anything."""
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    session, asset = bench.session(), bench.asset()
    first = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Retrying) for event in first)
    assert bench.fetch(asset, bench.session()).error is None
    assert bench.whole(asset, session) == bench.blob
    with pytest.raises(Locked):
        list(first)
    assert bench.whole(asset, session) == bench.blob


# Where nothing is pinned.


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
def test_unpinned_restarts_at_a_new_version(bench: Any, pieces: bool) -> None:
    """If-Range with the old validator brings the new file whole; the halves are never mixed."""
    session, asset = bench.session(pieces=pieces), bench.asset(pinned=False)
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.origin.mischief(bench.path, lab.Changed(), times=None)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob.translate(INVERTED)
    first, *_ = bench.requests
    assert first.headers["if-range"] == bench.etag
    assert first.status == 200


def test_unpinned_restarts_at_a_new_version_of_another_size(bench: Any) -> None:
    """The size of the old version binds nobody."""
    session, asset = bench.session(), bench.asset(pinned=False)
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.blob += b"more"
    bench.serve()
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
def test_a_version_that_changes_in_the_middle(bench: Any, pieces: bool) -> None:
    """A file replaced while it is fetched is fetched anew, whole."""
    session, asset = bench.session(pieces=pieces), bench.asset(pinned=False)
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    steps = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Retrying) for event in steps)
    bench.origin.mischief(bench.path, lab.Changed(), times=None)
    list(steps)
    assert bench.whole(asset, session) == bench.blob.translate(INVERTED)


def test_unpinned_with_a_weak_validator_begins_anew(bench: Any) -> None:
    """Bytes without a strong validator cannot be continued where nothing is pinned."""
    session, asset = bench.session(), bench.asset(pinned=False)
    bench.keep_half(asset, session, bytes(HALF))
    part = Part(part_path(session, asset), (), None)
    part.restore()
    part.begin(asset.places[0], "", len(bench.blob))
    part.close()
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert "range" not in bench.requests[0].headers


@pytest.mark.parametrize("kind", [lab.Cut(10_000), lab.Reset(10_000), lab.Stall(10_000, 2)], ids=repr)
def test_without_a_validator_a_broken_answer_is_not_continued(bench: Any, kind: Any) -> None:
    """Where nothing says that it is still the same file, half of it is worth nothing in the same run either."""
    bench.origin.mischief(bench.path, Both(Bare(), kind))
    bench.origin.mischief(bench.path, Both(lab.Changed(), Bare()), times=None)
    session, asset = bench.session(impatient=True), bench.asset(pinned=False)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob.translate(INVERTED)


def test_a_validator_that_is_missing_once_is_not_forgotten(bench: Any) -> None:
    """A 206 without ETag is right, and the next request still asks for the same file by its validator."""
    bench.origin.mischief(bench.path, lab.Cut(6000))
    bench.origin.mischief(bench.path, Both(Bare(206), lab.Cut(6000)))
    bench.origin.mischief(bench.path, lab.Changed(), times=None)
    session, asset = bench.session(), bench.asset(pinned=False)
    outcome = bench.fetch(asset, session)
    _judge(bench, asset, session, outcome, [bench.blob.translate(INVERTED)])


def test_unpinned_bytes_of_one_place_are_never_continued_at_another(bench: Any) -> None:
    """Without a pinned digest two places may hold two files."""
    session = bench.session()
    bench.keep_half(bench.asset(bench.origin, pinned=False), session, bytes(HALF))
    asset = bench.asset(bench.origin, bench.mirror, pinned=False)
    bench.origin.mischief(bench.path, lab.Status(404), times=None)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert "range" not in bench.mirror.requests[0].headers
    assert list(_dropped(outcome)) == [host_of(bench.origin.url)]


def test_what_one_place_announced_does_not_bind_the_next(bench: Any) -> None:
    """Size and md5 of a place that failed are not the other place's, which may hold another file."""
    other = random.Random(9).randbytes(20_000)
    bench.serve(google=True, mirror=other)
    bench.mirror.mount(bench.path, bench.folder / f"{id(bench.mirror)}" / "blob.bin", google=False)
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    bench.origin.mischief(bench.path, lab.Status(404), times=None)
    session, asset = bench.session(), bench.asset(bench.origin, bench.mirror, pinned=False)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == other
    receipt = present(session, asset)
    assert receipt is not None
    assert receipt.proof == "first use"


def test_pinned_bytes_are_continued_at_another_place(bench: Any) -> None:
    """Under one digest the mirror goes on where the origin fell silent, and no byte comes twice."""
    bench.clock.speed = 2.0  # slow enough that a stall of the machine does not begin a race
    session = bench.session()
    asset = bench.asset(bench.origin, bench.mirror)
    bench.mirror.mischief(bench.path, lab.Status(503, retry_after=1))
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    bench.origin.mischief(bench.path, lab.Status(404), times=None)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.mirror.requests[-1].headers["range"] == "bytes=10000-23999"
    assert sum(request.sent_bytes for request in bench.requests if request.status < 300) == len(bench.blob)


@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
def test_the_servers_md5_is_checked_and_said(bench: Any, pieces: bool) -> None:
    """x-goog-hash is the only proof an unpinned file has: a flipped byte is repaired by it."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, lab.Flip(WRONG_BYTE))
    session, asset = bench.session(pieces=pieces), bench.asset(pinned=False)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    receipt = present(session, asset)
    assert receipt is not None
    assert receipt.proof == "server"
    assert hashlib.md5(bench.blob).hexdigest() in [digest.hex for digest in receipt.digests]


@pytest.mark.parametrize("times", [1, None])
def test_the_servers_md5_finds_a_short_announcement(bench: Any, times: int | None) -> None:
    """A proxy that announces too few bytes does not get a cut file accepted."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, lab.Shorter(1000), times=times)
    session, asset = bench.session(), bench.asset(pinned=False)
    outcome = bench.fetch(asset, session)
    assert bench.whole(asset, session) == (bench.blob if times else None)
    assert (outcome.error is None) == bool(times)


def test_nothing_to_compare_with_is_called_first_use(bench: Any) -> None:
    """Without any digest our own is recorded, and named so."""
    session, asset = bench.session(), bench.asset(pinned=False)
    assert bench.fetch(asset, session).error is None
    receipt = present(session, asset)
    assert receipt is not None
    assert receipt.proof == "first use"


def test_wrong_bytes_are_not_left_behind_by_a_kill(bench: Any) -> None:
    """A run that dies while it says that the bytes are wrong does not leave them to the next run as right."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, lab.Flip(WRONG_BYTE))
    session, asset = bench.session(), bench.asset(pinned=False)
    steps = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Noted) and "looking for the culprit" in event.text for event in steps)
    steps.close()
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


def test_the_md5_of_an_old_version_does_not_bind_the_new_one(bench: Any) -> None:
    """A version without x-goog-hash that replaces one with it is taken for what it is."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    bench.origin.mischief(bench.path, lab.Changed(), times=None)
    session, asset = bench.session(), bench.asset(pinned=False)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob.translate(INVERTED)


def test_an_answer_without_length_is_taken_to_its_end(bench: Any) -> None:
    """A chunked answer is whole when its last chunk is."""
    bench.clock.speed = CALM
    bench.origin.mischief(bench.path, lab.NoLength(), times=None)
    session, asset = bench.session(), bench.asset(pinned=False)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert len(bench.requests) == 1


def test_a_login_page_costs_no_byte(bench: Any) -> None:
    """A captive portal that answers once, on resuming, is no new version of a file."""
    bench.clock.speed = CALM
    session, asset = bench.session(), bench.asset(pinned=False)
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.origin.mischief(bench.path, lab.Page())
    bench.fetch(asset, session)
    bench.fetch(asset, session)
    assert bench.whole(asset, session) == bench.blob
    file_bytes = sum(request.sent_bytes for request in bench.requests if request.mischief is None)
    assert file_bytes == len(bench.blob) - HALF


# Several routes, and servers without ranges.


def test_every_place_takes_part(bench: Any) -> None:
    """A pinned file comes from all its places at once, and each byte is asked for about once."""
    bench.blob = random.Random(8).randbytes(3_000_000)
    bench.serve()
    for origin in (bench.origin, bench.mirror):
        origin.mischief(bench.path, lab.Trickle(2_000_000), times=None)
    session, asset = bench.session(), bench.asset(bench.origin, bench.mirror)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    shares = [sum(r.sent_bytes for r in origin.requests) for origin in (bench.origin, bench.mirror)]
    assert min(shares) > 300_000
    assert {event.place for event in outcome.of(RouteChosen)} == {
        host_of(bench.origin.url),
        host_of(bench.mirror.url),
    }


def test_a_host_gets_no_more_connections_than_allowed(bench: Any) -> None:
    """However small the pieces, the user's limit for one host holds."""
    bench.origin.mischief(bench.path, lab.Trickle(30_000), times=None)
    session, asset = bench.session(pieces=True, connections=2), bench.asset()
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert session.http.most == 2


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("pieces", [False, True], ids=["one", "many"])
def test_a_place_without_ranges_leaves_the_work_to_the_other(bench: Any, rank: int, pieces: bool) -> None:
    """One that always sends everything is of use only if nobody else is."""
    bench.origin.mischief(bench.path, lab.IgnoreRange(), times=None)
    order = (bench.origin, bench.mirror) if rank == 0 else (bench.mirror, bench.origin)
    session, asset = bench.session(pieces=pieces), bench.asset(*order)
    bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


def test_a_place_without_ranges_is_the_last_resort(bench: Any) -> None:
    """The place with ranges fails for good: then the whole comes from the other, over what is there."""
    bench.origin.mischief(bench.path, lab.IgnoreRange(), times=None)
    bench.mirror.mischief(bench.path, Ranges(lab.Status(404), after=2000), times=None)
    session, asset = bench.session(pieces=True), bench.asset(bench.origin, bench.mirror)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


def test_a_place_without_ranges_works_while_the_other_rests(bench: Any) -> None:
    """A busy host that asks for five minutes is not waited for where another would send the whole at once."""
    bench.origin.mischief(bench.path, Ranges(lab.Status(503, retry_after=300), after=HALF), times=None)
    bench.mirror.mischief(bench.path, lab.IgnoreRange(), times=None)
    session, asset = bench.session(pieces=True), bench.asset(bench.origin, bench.mirror)
    bench.keep_half(asset, session, bench.blob[:HALF])
    begun_s = bench.clock.monotonic()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.clock.monotonic() - begun_s < 300


def test_unpinned_without_ranges_over_a_slow_line(bench: Any) -> None:
    """A server that says it knows ranges and ignores them costs nothing but the further connections."""
    bench.origin.mischief(bench.path, lab.IgnoreRange(), times=None)
    bench.origin.mischief(bench.path, lab.Trickle(100_000), times=None)
    session, asset = bench.session(pieces=True), bench.asset(pinned=False)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


def test_whoever_comes_second_is_sent_home(bench: Any) -> None:
    """A crawling connection whose bytes another has brought is closed, and nobody fetches them a third time."""
    bench.blob = random.Random(8).randbytes(2_000_000)
    bench.serve()
    bench.mirror.mischief(bench.path, lab.Trickle(20_000), times=None)
    bench.origin.mischief(bench.path, lab.Trickle(4_000_000), times=None)
    bench.clock.speed = 4.0
    session, asset = bench.session(), bench.asset(bench.mirror, bench.origin)
    begun_s = bench.clock.monotonic()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.clock.monotonic() - begun_s < 80, "the slow one alone takes four hundred"
    sent = sum(request.sent_bytes for request in bench.requests)
    assert sent < 1.6 * len(bench.blob)


def test_a_limit_on_the_rate_is_kept(bench: Any) -> None:
    """--bwlimit holds for the sum of all connections."""
    bench.blob = bench.blob * 80
    bench.serve()
    session = bench.session(bwlimit="192k", connections=2)
    pace = Pace(Timetable.parse("192k"), bench.clock.monotonic)
    begun_s = bench.clock.monotonic()
    asset = bench.asset(bench.origin, bench.mirror)
    assert bench.fetch(asset, replace(session, pace=pace)).error is None
    # The first second's worth, and what lies in the sockets at the end, come in one go.
    assert bench.clock.monotonic() - begun_s >= 0.6 * len(bench.blob) / (192 * 1024)


def test_only_the_chosen_routes_are_used(bench: Any) -> None:
    """--route keeps every other place out, also if the chosen one fails."""
    host = host_of(bench.mirror.url)
    session, asset = bench.session(route=[host]), bench.asset(bench.origin, bench.mirror)
    bench.mirror.mischief(bench.path, lab.Status(404), times=None)
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, Missing)
    assert not [request for request in bench.origin.requests if request.path == bench.path]


@pytest.mark.parametrize("pinned", [True, False])
def test_a_choice_that_leaves_no_route_is_a_mistake(bench: Any, pinned: bool) -> None:
    """--route with a host that the file is not at names the option, and asks nobody."""
    session, asset = bench.session(route=["nowhere.example"]), bench.asset(bench.origin, pinned=pinned)
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, SettingsError)
    assert "--route nowhere.example" in outcome.error.message
    assert bench.requests == []


def test_a_node_that_died_is_left_for_another(bench: Any) -> None:
    """Where a redirect led once is not for ever: when it fails, the place is asked again where to go."""
    bench.origin.mischief(bench.path, lab.RedirectTo(bench.mirror.url))
    bench.mirror.mischief(bench.path, lab.Cut(10_000))
    bench.mirror.mischief(bench.path, lab.Silence(), times=None)
    session, asset = bench.session(), bench.asset()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob


# Signed addresses.


def _signed(kind: str, origin: lab_origin.Origin, bench: Any) -> tuple[Asset, dict[str, Any]]:
    """The bench's file behind signed links, and the settings that lead there."""
    digest = Digest("sha256", hashlib.sha256(bench.blob).hexdigest())
    folder = bench.folder / "signed"
    folder.mkdir(parents=True)
    (folder / "blob.tar").write_bytes(bench.blob)
    host = host_of(origin.url)
    if kind == "hub":
        origin.hub("o/n", "a" * 40, folder, token="hf_canary")
        place = f"hub://o/n@{'a' * 40}/blob.tar"
        options: dict[str, Any] = {"hub_endpoint": origin.url, "hub_token_hosts": [host]}
    else:
        origin.kaggle("o/s", folder / "blob.tar", "me", "canary", token="KGAT_canary")
        place = "kaggle://o/s"
        options = {"kaggle_endpoint": origin.url, "kaggle_token_hosts": [host]}
    return Asset(name="blob.bin", places=(place,), size_bytes=len(bench.blob), digests=(digest,)), options


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
@pytest.mark.parametrize("kind", ["hub", "kaggle"])
def test_a_signed_address_that_expires_is_resolved_anew(bench: Any, kind: str, pinned: bool) -> None:
    """In the middle of a download the links die: the place is asked for new ones, and nothing is lost."""
    with lab_origin.Origin() as origin:
        asset, options = _signed(kind, origin, bench)
        if not pinned:
            asset = replace(asset, size_bytes=None, digests=())
        origin.mischief("*blob.tar" if kind == "hub" else "*archive.zip", lab.Cut(700), times=None)
        variables = {"HF_TOKEN": "hf_canary", "KAGGLE_API_TOKEN": "KGAT_canary"}
        session = bench.session(pieces=True, variables=variables, **options)
        expired = 0
        for event in fetch(fetch_task(asset, "one"), bench.plan(asset), session):
            # Not while a request is between the place and the storage, where no link can grow old.
            signed = [request.url.startswith(origin.storage_url) for request in session.http.asked[-8:]]
            if isinstance(event, Retrying) and len(signed) == 8 and all(signed):
                origin.expire_links()
                expired += 1
        assert bench.whole(asset, session) == bench.blob
        assert expired
        refused = [r for r in origin.requests if r.listener == "storage" and r.status == 403]
        resolved = [r for r in origin.requests if r.listener == "site"]
        assert refused
        assert len(resolved) >= min(expired, 2)
        assert all("authorization" in request.headers for request in resolved)
        for request in origin.requests:
            assert request.listener == "site" or "authorization" not in request.headers
        good = sum(
            r.sent_bytes for r in origin.requests if r.listener == "storage" and r.status in (200, 206)
        )
        assert good <= 1.5 * len(bench.blob)


@pytest.mark.parametrize("kind", ["hub", "kaggle"])
def test_addresses_that_are_never_valid_are_refused(bench: Any, kind: str) -> None:
    """Signed links that are dead on arrival are no endless loop."""
    with lab_origin.Origin(link_life_s=-5) as origin:
        asset, options = _signed(kind, origin, bench)
        variables = {"HF_TOKEN": "hf_canary", "KAGGLE_API_TOKEN": "KGAT_canary"}
        outcome = bench.fetch(asset, bench.session(variables=variables, **options))
        assert isinstance(outcome.error, Refused)
        assert len(origin.requests) <= 2 * Policy().empty_attempts
        assert "Signature=" not in outcome.error.message + repr(outcome.events).replace("Signature=***", "")


# Busy, refused, missing.


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(bench: Any, code: int, form: str) -> None:
    """A busy server says when: seconds or a date, neither sooner nor much later."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    value = 37 if form == "seconds" else format_datetime(now + timedelta(seconds=37), usegmt=True)
    bench.origin.mischief(bench.path, lab.Status(code, retry_after=value))
    bench.clock.speed = 200.0
    session, asset = replace(bench.session(), now=lambda: now), bench.asset()
    begun_s = bench.clock.monotonic()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert 37 <= bench.clock.monotonic() - begun_s < 137
    assert [event.wait_s for event in outcome.of(Retrying)] == [37]
    assert str(code) in outcome.of(Retrying)[0].reason
    assert len(bench.requests) == 2


@pytest.mark.parametrize("value", ["999999", "Fri, 01 Jan 2100 00:00:00 GMT", "99999999999999999999"])
def test_an_absurd_retry_after_is_capped(bench: Any, value: str) -> None:
    """Nobody waits a century."""
    bench.origin.mischief(bench.path, lab.Status(503, retry_after=value))
    bench.clock.speed = 3000.0
    session, asset = bench.session(), bench.asset()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert [event.wait_s for event in outcome.of(Retrying)] == [RETRY_AFTER_LIMIT_S]


def test_a_busy_place_does_not_stop_the_other(bench: Any) -> None:
    """One place that asks for five minutes costs nothing where another delivers."""
    bench.origin.mischief(bench.path, lab.Status(503, retry_after=300), times=None)
    session, asset = bench.session(), bench.asset(bench.origin, bench.mirror)
    begun_s = bench.clock.monotonic()
    assert bench.fetch(asset, session).error is None
    assert bench.clock.monotonic() - begun_s < 300
    assert len(bench.origin.requests) == 1


def test_an_always_busy_server_is_dropped(bench: Any) -> None:
    """Patience has the policy's end, and the error is the throttle."""
    bench.origin.mischief(bench.path, lab.Status(429, retry_after=1), times=None)
    session = replace(bench.session(), policy=Policy(throttled_attempts=3))
    outcome = bench.fetch(bench.asset(), session)
    assert isinstance(outcome.error, Throttled)
    assert len(bench.requests) == 3
    assert outcome.of(RouteDropped)[0].place == host_of(bench.origin.url)


def test_waits_grow_and_are_never_negative(bench: Any) -> None:
    """A server that says nothing is asked five times, ever later."""
    bench.origin.mischief(bench.path, lab.Silence(), times=None)
    session = bench.session()
    begun_s = bench.clock.monotonic()
    outcome = bench.fetch(bench.asset(), session)
    assert isinstance(outcome.error, Unreachable)
    waits = [event.wait_s for event in outcome.of(Retrying)]
    assert waits == [0.5, 1, 2, 4]
    assert bench.clock.monotonic() - begun_s >= sum(waits)
    assert len(bench.requests) == 5


def test_a_place_that_never_answers_is_left(bench: Any) -> None:
    """Requests into a black hole end after as long as was said, for each attempt."""
    bench.origin.mischief(bench.path, lab.Silence(for_s=5), times=None)
    session = replace(bench.session(impatient=True), policy=Policy(empty_attempts=2))
    outcome = bench.fetch(bench.asset(), session)
    assert isinstance(outcome.error, Unreachable)
    assert "no byte for" in outcome.error.message
    assert len(bench.requests) == 2


@pytest.mark.parametrize("code", [401, 403])
def test_refused_says_how_to_sign_in(bench: Any, code: int) -> None:
    """No second try, exit code 4, and a hint in both languages."""
    bench.origin.mischief(bench.path, lab.Status(code), times=None)
    outcome = bench.fetch(bench.asset(), bench.session())
    assert isinstance(outcome.error, Refused)
    assert outcome.error.exit_code == 4
    hints = dict(zip(LANGUAGES, outcome.error.hint, strict=True))
    assert "HF_TOKEN" in hints["en"]
    assert "HF_TOKEN" in hints["zh"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in hints["zh"])
    assert str(code) in outcome.error.message
    assert len(bench.requests) == 1


@pytest.mark.parametrize("code", [404, 410])
def test_missing_is_not_tried_again(bench: Any, code: int) -> None:
    """A file that is not there will not be there in a second."""
    bench.origin.mischief(bench.path, lab.Status(code), times=None)
    outcome = bench.fetch(bench.asset(), bench.session())
    assert isinstance(outcome.error, Missing)
    assert outcome.error.exit_code == 5
    assert len(bench.requests) == 1


@pytest.mark.parametrize("code", [204, 299, 304, 400, 405, 412, 418, 451])
def test_any_other_status_is_a_named_error(bench: Any, code: int) -> None:
    """Strange answers are refused once and not asked for again."""
    bench.origin.mischief(bench.path, lab.Status(code), times=None)
    outcome = bench.fetch(bench.asset(), bench.session())
    assert isinstance(outcome.error, Changed)
    assert str(code) in outcome.error.message
    assert len(bench.requests) == 1


def test_every_routes_reason_is_reported(bench: Any) -> None:
    """Two places fail in two ways: both are said, each with its host."""
    bench.origin.mischief(bench.path, lab.Status(404), times=None)
    bench.mirror.mischief(bench.path, lab.Status(403), times=None)
    outcome = bench.fetch(bench.asset(bench.origin, bench.mirror), bench.session())
    dropped = _dropped(outcome)
    assert set(dropped) == {host_of(bench.origin.url), host_of(bench.mirror.url)}
    assert "404" in dropped[host_of(bench.origin.url)]
    assert "403" in dropped[host_of(bench.mirror.url)]
    assert isinstance(outcome.error, SourceError)
    for place, reason in dropped.items():
        assert place in outcome.error.message
        assert reason in outcome.error.message


def test_offline_fetches_nothing(bench: Any) -> None:
    """--offline fails by name without a request."""
    outcome = bench.fetch(bench.asset(), bench.session(offline=True))
    assert isinstance(outcome.error, Unreachable)
    assert "offline" in outcome.error.message
    assert bench.requests == []


def test_mirrors_of_the_settings_are_used(bench: Any) -> None:
    """A mirror rule sends the request to its places and nowhere else."""
    bench.clock.speed = CALM
    rule = {"prefix": f"{bench.origin.url}/", "places": [f"{bench.mirror.url}/"]}
    session, asset = bench.session(mirrors=[rule]), bench.asset()
    assert bench.fetch(asset, session).error is None
    assert not [request for request in bench.origin.requests if request.path == bench.path]
    assert len(bench.requests) == 1


# The disk, and a user who has enough.


def test_no_space_keeps_what_was_claimed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the fetch by name; with room again, nothing that was written comes again."""
    session, asset = bench.session(), bench.asset()
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.origin.mischief(bench.path, lab.Cut(2000))
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        room = 15_000 - offset
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data[:room]), offset)

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "pwrite", full)
        patch.setattr(parts.os, "pwritev", lambda file, pieces, at: full(file, b"".join(pieces), at))
        outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, NoSpace)
    assert outcome.error.exit_code == 6
    assert bench.whole(asset, session) is None
    assert claimed_bytes(part_path(session, asset)) >= 14_000
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


@pytest.mark.parametrize("call", ["pwritev", "fdatasync", "write", "fsync"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_disk_that_fails_at_any_call(
    bench: Any, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    """Whichever call the disk refuses, the fetch ends by name, leaves no thread, and is continued later."""
    monkeypatch.setattr(parts, "FLUSH_S", 0.0)
    bench.origin.mischief(bench.path, lab.Trickle(200_000), times=None)
    session, asset = bench.session(pieces=True), bench.asset()
    real, calls = getattr(os, call), itertools.count()

    def fails(*arguments: Any) -> Any:
        if next(calls) >= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, call, fails)
        outcome = bench.fetch(asset, session)
    assert outcome.error is None or isinstance(outcome.error, NoSpace)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("g3m-part")]
    if outcome.error is not None:
        assert bench.whole(asset, session) in (None, bench.blob)
        bench.remains(asset, session)
        assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


def test_interrupted_flushes(bench: Any) -> None:
    """Ctrl-C in the middle claims the bytes that came; the next run goes on behind them."""
    bench.origin.mischief(bench.path, lab.Stall(10_000, 2))
    session, asset = bench.session(), bench.asset()
    steps = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Progressed) and event.done_bytes for event in steps)
    session.stop.set()
    with pytest.raises(Interrupted) as caught:
        list(steps)
    assert caught.value.exit_code == 130
    kept = claimed_bytes(part_path(session, asset))
    assert 0 < kept <= 10_000
    again = bench.session()
    assert bench.fetch(asset, again).error is None
    assert bench.requests[-1].headers["range"] == f"bytes={kept}-23999"
    assert bench.whole(asset, again) == bench.blob


def test_interrupted_while_waiting(bench: Any) -> None:
    """A stop is heard within a wait for a busy server, not only after it."""
    bench.origin.mischief(bench.path, lab.Status(503, retry_after=300), times=None)
    session = bench.session()
    steps = fetch(fetch_task(bench.asset(), "one"), bench.plan(bench.asset()), session)
    assert any(isinstance(event, Retrying) for event in steps)
    session.stop.set()
    begun_s = bench.clock.monotonic()
    with pytest.raises(Interrupted):
        list(steps)
    assert bench.clock.monotonic() - begun_s < 300


# Answers out of a script: the step needs no libcurl, and no server that it could wait for.


@dataclass
class _Scripted:
    """An answer: its head, its pieces, and how it ends."""

    answer: Answer
    pieces: Any
    error: SourceError | None = None


@dataclass
class _Script:
    """In place of the real HTTP: answers in order; the last one for ever."""

    answers: list[_Scripted]
    asked: list[http.Request] = field(default_factory=list)
    flows: dict[int, Iterator[Occurrence]] = field(default_factory=dict)

    def pool(self) -> _Script:
        return self

    def __enter__(self) -> _Script:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert not self.flows, "a transfer was left behind"

    def has_room(self, url: str) -> bool:
        return not self.flows

    def start(self, key: int, request: http.Request) -> None:
        self.asked.append(request)
        assert len(self.asked) < 50, "an endless loop of requests"
        self.flows[key] = self._flow(key, self.answers[min(len(self.asked), len(self.answers)) - 1])

    def _flow(self, key: int, scripted: _Scripted) -> Iterator[Occurrence]:
        yield Headed(key, scripted.answer, self.asked[-1].url)
        for piece in scripted.pieces:
            yield Came(key, [piece])
        yield Ended(key, scripted.error)

    def cancel(self, key: int) -> None:
        self.flows.pop(key, None)

    def poll(self, timeout_s: float) -> list[Occurrence]:
        if not self.flows:
            time.sleep(0.001)
        happened = [next(flow) for flow in list(self.flows.values())]
        for item in happened:
            if isinstance(item, Ended):
                del self.flows[item.key]
        return happened


def _whole(size: int) -> Answer:
    return Answer(status=200, headers={"content-length": str(size)})


def test_an_endless_body_is_stopped_at_the_pinned_size(bench: Any) -> None:
    """A server that never stops sending is left when it passes the announced size."""
    script = _Script([_Scripted(Answer(status=200, headers={}), itertools.repeat(bytes(5000), 100))])
    session, asset = replace(bench.session(), http=script), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, (Changed, DigestMismatch))
    assert part_path(session, asset).stat().st_size <= len(bench.blob)


def test_more_than_a_range_was_asked_for_is_not_written(bench: Any) -> None:
    """A server that answers a range with its bytes and more spoils nobody else's bytes."""
    head = Answer(status=206, headers={"content-range": "bytes 0-999/24000"})
    good = Answer(status=206, headers={"content-range": "bytes 0-23999/24000"})
    script = _Script([_Scripted(head, [bench.blob[:1000] + bytes(9000)]), _Scripted(good, [])])
    session, asset = replace(bench.session(pieces=True), http=script), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, Changed)
    assert "more than" in outcome.error.message
    assert bench.remains(asset, session) in ({}, {(0, 1000): bench.blob[:1000]})


def test_an_early_end_that_nobody_reports_is_truncated(bench: Any) -> None:
    """A body that ends in good order before its size is not taken for whole."""
    short = _Scripted(Answer(status=200, headers={}), [bytes(10)])
    nothing = _Scripted(Answer(status=206, headers={"content-range": "bytes 10-23999/24000"}), [])
    script = _Script([short, nothing])
    session, asset = replace(bench.session(), http=script), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, Truncated)
    assert bench.whole(asset, session) is None
    assert len(script.asked) == 6


def test_a_stop_is_heard_while_bytes_flow(bench: Any) -> None:
    """Ctrl-C does not wait for the end of a fast download."""
    session, asset = bench.session(), bench.asset()

    def pieces() -> Iterator[bytes]:
        for place in range(0, len(bench.blob), 1000):
            if place == 5000:
                session.stop.set()
            yield bench.blob[place : place + 1000]

    script = _Script([_Scripted(_whole(24_000), pieces())])
    outcome = bench.fetch(asset, replace(session, http=script))
    assert isinstance(outcome.error, Interrupted)
    assert claimed_bytes(part_path(session, asset)) in (5000, 6000)


# What is said.


def test_events_tell_the_whole_story_in_order(bench: Any) -> None:
    """Chosen, broken, done: with places, ways, totals and the final size."""
    bench.clock.speed = CALM
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    outcome = bench.fetch(bench.asset(), bench.session())
    kinds = [type(event) for event in outcome.events if type(event) not in (Progressed, RoutesMeasured)]
    assert kinds == [RouteChosen, Retrying, TaskFinished]
    assert outcome.of(RouteChosen)[0].place == host_of(bench.origin.url)
    assert outcome.of(RouteChosen)[0].way == "direct"
    assert outcome.of(TaskFinished)[0].size_bytes == len(bench.blob)
    assert all(event.total_bytes == len(bench.blob) for event in outcome.of(Progressed))
    assert outcome.of(Progressed)[-1].done_bytes == len(bench.blob)


def test_what_routes_carry_is_told(bench: Any) -> None:
    """Every tick names each route with its connections, and their bytes add up."""
    for origin in (bench.origin, bench.mirror):
        origin.mischief(bench.path, lab.Trickle(100_000), times=None)
    session, asset = bench.session(pieces=True), bench.asset(bench.origin, bench.mirror)
    outcome = bench.fetch(asset, session)
    ticks = outcome.of(RoutesMeasured)
    assert ticks
    for tick in ticks:
        assert {route.place for route in tick.routes} == {
            host_of(bench.origin.url),
            host_of(bench.mirror.url),
        }
        assert all(0 <= route.connections <= 4 for route in tick.routes)
        assert sum(route.done_bytes for route in tick.routes) <= len(bench.blob)
    done = [event.done_bytes for event in outcome.of(Progressed)]
    assert done == sorted(done)
