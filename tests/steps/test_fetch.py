"""steps/fetch.py: over a bad network the end is the right bytes or a named error, within bounded requests."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from g3m.adapters import parts
from g3m.adapters.parts import Part, claimed_bytes
from g3m.core import errors
from g3m.core.errors import (
    LANGUAGES,
    Changed,
    ContentError,
    DigestMismatch,
    Interrupted,
    Missing,
    NoSpace,
    Refused,
    SourceError,
    Throttled,
    Truncated,
    Unreachable,
)
from g3m.core.events import Noted, Progressed, Retrying, RouteChosen, RouteDropped, TaskFinished
from g3m.core.plan import fetch_task
from g3m.core.resume import RETRY_AFTER_LIMIT_S, Answer
from g3m.core.retry import Policy
from g3m.core.secrets import host_of
from g3m.lab import mischief as lab
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
    "Status": lab.Status(503, retry_after=7),
    "Page": lab.Page(),
    "Gzip": lab.Gzip(),
    "Encoding": lab.Encoding("gzip"),
    "Changed": lab.Changed(),
    "Shorter": lab.Shorter(1000),
    "Longer": lab.Longer(1000),
    "NoLength": lab.NoLength(),
    "RedirectTo": lab.RedirectTo("http://127.0.0.1:1"),
    "Redirect308": lab.Redirect308("http://127.0.0.1:1"),
    "RedirectLoop": lab.RedirectLoop(),
}

HARMLESS = {"Cut", "Reset", "Stall", "Trickle", "IgnoreRange", "NoLength", "RedirectTo", "Redirect308"}
"""One place suffices however often these happen: every attempt brings bytes or the whole."""

PASSING = HARMLESS | {"Silence", "Flip", "Status"}
"""One place suffices if it happens once."""


def _mischief(bench: Any, kind: str) -> Any:
    return type(KINDS[kind])(bench.mirror.url) if kind in ("RedirectTo", "Redirect308") else KINDS[kind]


def test_every_kind_of_mischief_is_tried() -> None:
    """A kind that the lab learns must be met by the fetch, too."""
    assert {kind.__name__ for kind in lab.KINDS} == set(KINDS)


@pytest.mark.parametrize("mirror", [False, True], ids=["alone", "mirror"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("kind", KINDS)
def test_right_bytes_or_a_named_error(
    bench: Any, kind: str, times: int | None, resumed: bool, pinned: bool, mirror: bool
) -> None:
    """Whatever goes wrong: never wrong bytes under the final name, never an endless loop, never a wait."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, _mischief(bench, kind), times=times)
    session = bench.session()
    asset = bench.asset(bench.origin, *([bench.mirror] if mirror else []), pinned=pinned)
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    whole, receipt = bench.whole(asset, session), present(session, asset)
    if outcome.error is None:
        # A server with a new version, true to itself, is believed where nothing is pinned.
        new = bench.blob.translate(bytes(255 - value for value in range(256)))
        right = [bench.blob, new] if kind == "Changed" and not pinned else [bench.blob]
        assert whole in right
        assert receipt is not None
        assert f"sha256:{hashlib.sha256(whole).hexdigest()}" in map(str, receipt.digests)
        assert outcome.events[-1].output == "blob.bin"
        assert not part_path(session, asset).exists()
        assert not part_path(session, asset).with_suffix(".journal").exists()
    else:
        assert type(outcome.error) in errors.all_errors()
        assert isinstance(outcome.error, (SourceError, ContentError))
        assert host_of(bench.origin.url) in outcome.error.message
        assert whole is receipt is None
        assert outcome.of(RouteDropped)
    must = mirror or kind in HARMLESS or (times and kind in PASSING)
    assert outcome.error is None or not must
    assert len(bench.requests) <= 25


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"Flip", "Shorter", "Changed"}))
def test_without_any_digest_bytes_are_still_never_mixed(
    bench: Any, kind: str, resumed: bool, times: int | None
) -> None:
    """Where neither recipe nor server has a digest, only the rules about ranges and validators protect."""
    bench.origin.mischief(bench.path, _mischief(bench, kind), times=times)
    session, asset = bench.session(), bench.asset(pinned=False)
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    assert bench.whole(asset, session) == (bench.blob if outcome.error is None else None)
    assert outcome.error is None or isinstance(outcome.error, SourceError)


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
def test_two_misfortunes_for_ever_end_too(bench: Any, kinds: list[str], pinned: bool) -> None:
    """A way that always spoils both kinds of answer wears out."""
    for kind in kinds:
        bench.origin.mischief(bench.path, KINDS[kind], times=None)
    session = bench.session()
    asset = bench.asset(pinned=pinned)
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, (SourceError, ContentError))
    assert bench.whole(asset, session) is None


def test_two_versions_in_turns_end_too(bench: Any) -> None:
    """Behind two servers that hold different versions, an unpinned file on a cutting link ends or fails."""
    for _ in range(100):
        bench.origin.mischief(bench.path, lab.Cut(10_000))
        bench.origin.mischief(bench.path, lab.Changed())
    session = bench.session()
    outcome = bench.fetch(bench.asset(pinned=False), session)
    assert outcome.error is None or isinstance(outcome.error, SourceError)


@pytest.mark.parametrize("resumed", [False, True])
def test_one_wrong_byte_is_found_and_repaired(bench: Any, resumed: bool) -> None:
    """One flipped bit in the middle costs one more fetch, and is said."""
    bench.origin.mischief(bench.path, lab.Flip(WRONG_BYTE))
    session, asset = bench.session(), bench.asset()
    if resumed:
        bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert [request.mischief for request in bench.requests] == ["Flip", None]
    notes = [event.text for event in outcome.of(Noted)]
    assert any(asset.digests[0].hex[:12] in text and "fetched again" in text for text in notes)


def test_a_wrong_byte_kept_on_the_disk_is_repaired(bench: Any) -> None:
    """Half a file of wrong bytes with a proper journal is not built upon for ever."""
    session, asset = bench.session(), bench.asset()
    bench.keep_half(asset, session, bytes(HALF))
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert len(bench.requests) == 2


def test_a_lying_mirror_is_dropped_and_named(bench: Any) -> None:
    """A mirror with other bytes is found out by its second lie; the other one's bytes win."""
    wrong = bytes(len(bench.blob))
    bench.serve(mirror=wrong)
    session, asset = bench.session(), bench.asset(bench.mirror, bench.origin)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert [request.status for request in bench.requests] == [200, 200]


def test_a_mirror_that_always_lies_is_dropped_when_it_is_alone(bench: Any) -> None:
    """The only place delivers wrong bytes twice: it is named, the digest is said, and nothing is kept."""
    bench.origin.mischief(bench.path, lab.Flip(5), times=None)
    session, asset = bench.session(), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, DigestMismatch)
    assert outcome.error.exit_code == 7
    host = host_of(bench.origin.url)
    assert [(event.place, "wrong bytes" in event.reason) for event in outcome.of(RouteDropped)] == [
        (host, True)
    ]
    assert host in outcome.error.message
    assert asset.digests[0].hex[:12] in outcome.of(Noted)[0].text
    assert bench.whole(asset, session) is None
    assert len(bench.requests) == 2


def test_the_liar_of_two_is_dropped_before_the_honest_one(bench: Any) -> None:
    """Bytes of a liar and an honest place are mixed: only the liar is dropped in the end."""
    bench.serve(mirror=bytes(len(bench.blob)))
    # The honest origin is cut and then busy for so long that the liar has to finish its half.
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    bench.origin.mischief(bench.path, lab.Status(500), times=4)
    session, asset = bench.session(), bench.asset(bench.mirror, bench.origin)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert host_of(bench.origin.url) not in [event.place for event in outcome.of(RouteDropped)]


def test_a_liar_is_named_when_it_wins_its_turn_again(bench: Any) -> None:
    """Two liars deliver two files each at most, and both are named."""
    bench.serve(mirror=bytes(len(bench.blob)))
    bench.origin.mischief(bench.path, lab.Flip(5), times=None)
    session, asset = bench.session(), bench.asset(bench.origin, bench.mirror)
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, DigestMismatch)
    dropped = {event.place: event.reason for event in outcome.of(RouteDropped)}
    assert set(dropped) == {host_of(bench.origin.url), host_of(bench.mirror.url)}
    assert all("wrong bytes" in reason for reason in dropped.values())
    assert len(bench.requests) == 4


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


@pytest.mark.parametrize("kind", ["Cut", "Reset", "Stall"])
@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
def test_a_cut_is_continued_where_the_journal_ends(bench: Any, kind: str, pinned: bool) -> None:
    """The second request begins at the first missing byte, and no byte is sent twice."""
    bench.origin.mischief(bench.path, KINDS[kind])
    session, asset = bench.session(), bench.asset(pinned=pinned)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    first, second = bench.requests
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=10000-"
    assert second.headers.get("if-range") == (None if pinned else bench.etag)
    assert second.status == 206
    # What a stalled server holds back it may send into the closed connection later.
    assert first.sent_bytes + second.sent_bytes == len(bench.blob)
    assert [event.offset_bytes for event in outcome.of(RouteChosen)] == [0, 10_000]


def test_a_cut_at_every_thousand_bytes_wears_nothing_out(bench: Any) -> None:
    """A connection that always breaks after some bytes is normal: no wait, no dropped route."""
    bench.origin.mischief(bench.path, lab.Cut(1000), times=None)
    session, asset = bench.session(), bench.asset()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert sum(request.sent_bytes for request in bench.requests) == len(bench.blob)
    assert bench.clock.slept_s == 0
    assert not outcome.of(RouteDropped)


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
def test_a_killed_run_is_continued(bench: Any, pinned: bool) -> None:
    """Only what is missing is fetched in the next run, and it is said that bytes were there."""
    session, asset = bench.session(), bench.asset(pinned=pinned)
    bench.keep_half(asset, session, bench.blob[:HALF])
    outcome = bench.fetch(asset, session)
    assert bench.whole(asset, session) == bench.blob
    (request,) = bench.requests
    assert request.headers["range"] == f"bytes={HALF}-"
    assert request.sent_bytes == len(bench.blob) - HALF
    assert f"{HALF} bytes are here" in outcome.of(Noted)[0].text


def test_an_abandoned_fetch_is_continued(bench: Any) -> None:
    """A run that dies between two events loses nothing that was flushed."""
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    session, asset = bench.session(), bench.asset()
    steps = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Retrying) for event in steps)
    steps.close()
    assert claimed_bytes(part_path(session, asset)) == 10_000
    assert bench.fetch(asset, session).error is None
    assert [request.headers.get("range") for request in bench.requests] == [None, "bytes=10000-"]


def test_a_complete_part_of_a_pinned_file_needs_no_request(bench: Any) -> None:
    """A run killed between the last byte and the rename asks nobody."""
    session, asset = bench.session(), bench.asset()
    bench.keep_half(asset, session, bench.blob)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.requests == []


def test_a_complete_part_of_unknown_size_meets_416(bench: Any) -> None:
    """A file without announced size is asked for its next byte, refused, and right in the end."""
    session, asset = bench.session(), bench.asset(pinned=False)
    part = Part(part_path(session, asset), (), None)
    part.restore()
    part.begin(asset.places[0], bench.etag, None)
    part.write(bench.blob, asset.places[0])
    part.flush(asset.places[0])
    part.close()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert bench.requests[0].status == 416
    assert len(bench.requests) <= 2


def test_a_finished_asset_is_not_asked_for_again(bench: Any) -> None:
    """The second run makes no request."""
    session, asset = bench.session(), bench.asset()
    bench.fetch(asset, session)
    again = bench.fetch(asset, session)
    assert [type(event) for event in again.events] == [TaskFinished]
    assert len(bench.requests) == 1


def test_a_finished_asset_that_was_cut_is_fetched_again(bench: Any) -> None:
    """A receipt without its bytes proves nothing."""
    session, asset = bench.session(), bench.asset()
    bench.fetch(asset, session)
    whole_path(session, asset).write_bytes(b"short")
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


def test_unpinned_restarts_at_a_new_version(bench: Any) -> None:
    """If-Range with the old validator brings the new file whole; the halves are never mixed."""
    session, asset = bench.session(), bench.asset(pinned=False)
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.origin.mischief(bench.path, lab.Changed(), times=None)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob.translate(bytes(255 - value for value in range(256)))
    (request,) = bench.requests
    assert request.headers["if-range"] == bench.etag
    assert request.status == 200


def test_unpinned_restarts_at_a_new_version_of_another_size(bench: Any) -> None:
    """The size of the old version binds nobody."""
    session, asset = bench.session(), bench.asset(pinned=False)
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.blob += b"more"
    bench.serve()
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob


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


def test_unpinned_bytes_of_one_place_are_never_continued_at_another(bench: Any) -> None:
    """Without a pinned digest two places may hold two files."""
    session = bench.session()
    bench.keep_half(bench.asset(bench.origin, pinned=False), session, bytes(HALF))
    asset = bench.asset(bench.origin, bench.mirror, pinned=False)
    bench.origin.mischief(bench.path, lab.Status(404), times=None)
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.whole(asset, session) == bench.blob
    assert "range" not in bench.requests[-1].headers
    assert [event.place for event in outcome.of(RouteDropped)] == [host_of(bench.origin.url)]


def test_pinned_bytes_are_continued_at_another_place(bench: Any) -> None:
    """Under one digest the mirror goes on where the origin fell silent."""
    session = bench.session()
    asset = bench.asset(bench.origin, bench.mirror)
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    bench.origin.mischief(bench.path, lab.Status(404), times=None)
    assert bench.fetch(asset, session).error is None
    assert [(r.headers.get("range"), r.status) for r in bench.requests] == [
        (None, 200),
        ("bytes=10000-", 404),
        ("bytes=10000-", 206),
    ]


def test_the_servers_md5_is_checked_and_said(bench: Any) -> None:
    """x-goog-hash is the only proof an unpinned file has: a flipped byte is repaired by it."""
    bench.serve(google=True)
    bench.origin.mischief(bench.path, lab.Flip(WRONG_BYTE))
    session, asset = bench.session(), bench.asset(pinned=False)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    receipt = present(session, asset)
    assert receipt is not None
    assert receipt.proof == "server"
    assert hashlib.md5(bench.blob).hexdigest() in [digest.hex for digest in receipt.digests]
    assert len(bench.requests) == 2


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
    assert any(isinstance(event, Noted) and "fetched again" in event.text for event in steps)
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
    assert bench.whole(asset, session) == bench.blob.translate(bytes(255 - value for value in range(256)))


def test_an_answer_without_length_is_taken_to_its_end(bench: Any) -> None:
    """A chunked answer is whole when its last chunk is."""
    bench.origin.mischief(bench.path, lab.NoLength(), times=None)
    session, asset = bench.session(), bench.asset(pinned=False)
    assert bench.fetch(asset, session).error is None
    assert bench.whole(asset, session) == bench.blob
    assert len(bench.requests) == 1


def test_a_login_page_costs_no_byte(bench: Any) -> None:
    """A captive portal that answers once, on resuming, is no new version of a file."""
    session, asset = bench.session(), bench.asset(pinned=False)
    bench.keep_half(asset, session, bench.blob[:HALF])
    bench.origin.mischief(bench.path, lab.Page())
    bench.fetch(asset, session)
    bench.fetch(asset, session)
    assert bench.whole(asset, session) == bench.blob
    file_bytes = sum(request.sent_bytes for request in bench.requests if request.mischief is None)
    assert file_bytes == len(bench.blob) - HALF


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(bench: Any, code: int, form: str) -> None:
    """A busy server says when: seconds or a date, neither sooner nor much later."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    value = 37 if form == "seconds" else format_datetime(now + timedelta(seconds=37), usegmt=True)
    bench.origin.mischief(bench.path, lab.Status(code, retry_after=value))
    session, asset = replace(bench.session(), now=lambda: now), bench.asset()
    outcome = bench.fetch(asset, session)
    assert outcome.error is None
    assert bench.clock.slept_s == pytest.approx(37, abs=0.01)
    assert [event.wait_s for event in outcome.of(Retrying)] == [37]
    assert str(code) in outcome.of(Retrying)[0].reason


@pytest.mark.parametrize("value", ["999999", "Fri, 01 Jan 2100 00:00:00 GMT", "99999999999999999999"])
def test_an_absurd_retry_after_is_capped(bench: Any, value: str) -> None:
    """Nobody waits a century."""
    bench.origin.mischief(bench.path, lab.Status(503, retry_after=value))
    session, asset = bench.session(), bench.asset()
    assert bench.fetch(asset, session).error is None
    assert bench.clock.slept_s <= RETRY_AFTER_LIMIT_S + 0.01


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
    outcome = bench.fetch(bench.asset(), session)
    assert isinstance(outcome.error, Unreachable)
    waits = [event.wait_s for event in outcome.of(Retrying)]
    assert waits == [0.5, 1, 2, 4]
    assert bench.clock.slept_s == pytest.approx(sum(waits))


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
    dropped = {event.place: event.reason for event in outcome.of(RouteDropped)}
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


def test_mirrors_of_the_settings_are_used_in_order(bench: Any) -> None:
    """A mirror rule sends the request to its places and nowhere else."""
    rule = {"prefix": f"{bench.origin.url}/", "places": [f"{bench.mirror.url}/"]}
    session, asset = bench.session(mirrors=[rule]), bench.asset()
    assert bench.fetch(asset, session).error is None
    assert not [request for request in bench.origin.requests if request.path == bench.path]
    assert len(bench.requests) == 1


def test_no_space_keeps_what_was_claimed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the fetch by name; with room again, only the rest is fetched."""
    session, asset = bench.session(), bench.asset()
    bench.keep_half(asset, session, bench.blob[:HALF])
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        room = 15_000 - offset
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data[:room]), offset)

    with monkeypatch.context() as patch:
        patch.setattr(parts.os, "pwrite", full)
        outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, NoSpace)
    assert outcome.error.exit_code == 6
    assert bench.whole(asset, session) is None
    assert claimed_bytes(part_path(session, asset)) == 15_000
    assert bench.fetch(asset, session).error is None
    assert bench.requests[-1].headers["range"] == "bytes=15000-"
    assert bench.whole(asset, session) == bench.blob


def test_interrupted_flushes(bench: Any) -> None:
    """Ctrl-C in the middle claims the bytes that came; the next run goes on behind them."""
    bench.origin.mischief(bench.path, lab.Stall(10_000, 2))
    session, asset = bench.session(stall_timeout_s=5), bench.asset()
    steps = fetch(fetch_task(asset, "one"), bench.plan(asset), session)
    assert any(isinstance(event, Progressed) for event in steps)
    session.stop.set()
    with pytest.raises(Interrupted) as caught:
        list(steps)
    assert caught.value.exit_code == 130
    kept = claimed_bytes(part_path(session, asset))
    assert 0 < kept <= 10_000
    again = bench.session()
    assert bench.fetch(asset, again).error is None
    assert bench.requests[-1].headers["range"] == f"bytes={kept}-"
    assert bench.whole(asset, again) == bench.blob


def test_interrupted_while_waiting(bench: Any) -> None:
    """A stop is heard within a wait for a busy server, not only after it."""
    bench.origin.mischief(bench.path, lab.Status(503, retry_after=200), times=None)
    session = bench.session()

    def sleep(seconds: float) -> None:
        bench.clock.sleep(seconds)
        if bench.clock.slept_s > 1:
            session.stop.set()

    outcome = bench.fetch(bench.asset(), replace(session, sleep=sleep))
    assert isinstance(outcome.error, Interrupted)
    assert bench.clock.slept_s < 2


@dataclass
class _Scripted:
    """A body out of a script, as a protocol without libcurl shows that fetch needs no more."""

    answer: Answer
    pieces: tuple[bytes, ...]
    url: str = "http://127.0.0.1/x"

    def chunks(self) -> Iterator[bytes]:
        yield from self.pieces

    def read(self, limit_bytes: int = 0) -> bytes:
        return b"".join(self.pieces)


@dataclass
class _Script:
    """Answers in order; the last one for ever."""

    answers: list[_Scripted]
    asked: list[tuple[str, int, str]] = field(default_factory=list)

    @contextmanager
    def open(self, url: str, *, offset_bytes: int = 0, etag: str = "") -> Iterator[_Scripted]:
        self.asked.append((url, offset_bytes, etag))
        assert len(self.asked) < 50, "an endless loop of requests"
        yield self.answers[min(len(self.asked), len(self.answers)) - 1]


def test_an_endless_body_is_stopped_at_the_pinned_size(bench: Any) -> None:
    """A server that never stops sending is left when it passes the announced size."""
    endless = _Scripted(Answer(status=200, headers={}), tuple(itertools.repeat(bytes(5000), 100)))
    script = _Script([endless])
    session, asset = replace(bench.session(), http=script), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, Changed)
    assert part_path(session, asset).stat().st_size <= len(bench.blob)


def test_an_early_end_that_nobody_reports_is_truncated(bench: Any) -> None:
    """A body that ends in good order before its size is not taken for whole."""
    short = _Scripted(Answer(status=200, headers={}), (bytes(10),))
    nothing = _Scripted(Answer(status=206, headers={"content-range": "bytes 10-23999/24000"}), ())
    script = _Script([short, nothing])
    session, asset = replace(bench.session(), http=script), bench.asset()
    outcome = bench.fetch(asset, session)
    assert isinstance(outcome.error, Truncated)
    assert bench.whole(asset, session) is None
    assert len(script.asked) == 6


def test_a_stop_is_heard_while_bytes_flow(bench: Any) -> None:
    """Ctrl-C does not wait for the end of a fast download."""
    session, asset = bench.session(), bench.asset()

    @dataclass
    class Stopping(_Scripted):
        def chunks(self) -> Iterator[bytes]:
            for place in range(0, len(bench.blob), 1000):
                if place == 5000:
                    session.stop.set()
                yield bench.blob[place : place + 1000]

    script = _Script([Stopping(Answer(status=200, headers={}), ())])
    outcome = bench.fetch(asset, replace(session, http=script))
    assert isinstance(outcome.error, Interrupted)
    assert claimed_bytes(part_path(session, asset)) == 5000


def test_events_tell_the_whole_story_in_order(bench: Any) -> None:
    """Chosen, broken, chosen again, done: with offsets, totals and the final size."""
    bench.origin.mischief(bench.path, lab.Cut(10_000))
    outcome = bench.fetch(bench.asset(), bench.session())
    kinds = [type(event) for event in outcome.events if type(event) is not Progressed]
    assert kinds == [RouteChosen, Retrying, RouteChosen, TaskFinished]
    assert outcome.of(TaskFinished)[0].size_bytes == len(bench.blob)
    assert all(event.total_bytes == len(bench.blob) for event in outcome.of(Progressed))
    assert outcome.of(Progressed)[-1].done_bytes == len(bench.blob)
