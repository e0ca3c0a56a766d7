"""adapters/crowd.py: hosts that never answer cost little, hosts that answer slowly lose nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import pytest
from tests.adapters.crowding import Fetcher, drained, knowing
from tests.pictures_host import SIZES, Asked, PicturesHost, picture, pictures_host

from g3m.adapters.crowd import Got, Wanted
from g3m.adapters.hosts import Hosts
from g3m.core.errors import Unreachable
from g3m.core.manners import LIVELY_S, LONGEST_REST_S, PATIENCE_S, UNKNOWN_REQUESTS


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host(tuple(f"127.1.0.{number}" for number in range(1, 9))) as host:
        yield host


@pytest.fixture
def fetch(host: PicturesHost) -> Iterator[Fetcher]:
    with knowing(host) as hosts:
        yield Fetcher(hosts)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for the first byte of a host, in place of ten; drawing is not to count for it."""
    for number in range(len(SIZES)):
        picture(number)
    monkeypatch.setattr("g3m.core.manners.ANSWER_S", 0.5)
    monkeypatch.setattr("g3m.core.manners.ANSWER_SHARE", 1000)
    monkeypatch.setattr("g3m.core.manners.PATIENCE_S", 1.0)


def _lasting(host: PicturesHost, count: int = 200) -> list[str]:
    """Good rows of one host that take about five seconds with four at once: meanwhile it is no tail."""
    host.slow_s = 0.1
    return [host.url(f"slow/{number}.jpg", name="calm.test") for number in range(count)]


@pytest.mark.usefixtures("impatient")
def test_a_silent_host_costs_two_requests(host: PicturesHost, fetch: Fetcher) -> None:
    """Forty rows of each of three hosts that take connections and say nothing: the others go on meanwhile."""
    silent = [host.url(f"hang/{n}.jpg", at=f"127.1.0.{2 + n % 3}") for n in range(120)]
    found = fetch(silent + _lasting(host), per_host=4, requests=16)
    assert {got.reason for got in found[:120]} == {"timeout"}
    assert {got.reason for got in found[120:]} == {""}
    assert [host.asked_of[f"127.1.0.{n}"] for n in (2, 3, 4)] == [UNKNOWN_REQUESTS] * 3
    words = Counter(got.detail for got in found[:120])
    assert words == {"no answer within 0.5 s": 6, "its host has answered nothing": 114}


@pytest.mark.usefixtures("impatient")
def test_a_host_that_answered_may_take_its_time(host: PicturesHost, fetch: Fetcher) -> None:
    """After one answer the limit for the first byte, and the rule of silence, are no longer meant for it."""
    found = fetch([host.url("good/0.jpg", name="slow.test")])
    assert found[0].reason == ""
    host.slow_s = 1.5
    urls = [host.url(f"slow/{n}.jpg", name="slow.test") for n in range(1, 9)]
    found = fetch([*urls, *(host.url(f"good/{n}.jpg", name="calm.test") for n in range(9, 60))], per_host=4)
    assert {got.reason for got in found} == {""}


@pytest.mark.usefixtures("impatient")
def test_what_is_not_found_is_an_answer_too(host: PicturesHost, fetch: Fetcher) -> None:
    """A host that says 404 to one row and nothing to the others is not silent: each of them is asked for."""
    assert fetch([host.url("missing/0.jpg", name="half.test")])[0].reason == "http_404"
    urls = [host.url(f"hang/{n}.jpg", name="half.test") for n in range(1, 6)]
    found = fetch(urls + _lasting(host), per_host=4, total_s=1.0)
    assert {got.detail for got in found[:5]} == {"not whole within 1 s"}
    assert host.asked_of["half.test"] == 6


@pytest.mark.usefixtures("impatient")
def test_where_all_hosts_are_silent_none_of_them_is(host: PicturesHost, fetch: Fetcher) -> None:
    """A dead network: rows are asked for until the alarm rings, and none ends by hearsay."""
    urls = [host.url(f"hang/{n}.jpg", name=f"h{n % 8}.test") for n in range(400)]
    told: list[Got] = []
    with fetch.crowd() as crowd, pytest.raises(Unreachable, match="network"):
        told.extend(got for got in drained(crowd, [Wanted(n, url) for n, url in enumerate(urls)]))
    assert sum(host.asked.values()) >= 50
    assert {got.detail for got in told} == {"no answer within 0.5 s"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("robots", [True, False])
def test_many_rows_of_silent_hosts_are_no_dead_network(host: PicturesHost, robots: bool) -> None:
    """Seven hosts fall silent at one moment, each with seventy rows that wait: the alarm does not ring."""

    async def robots_txt(asked: Asked) -> None:
        if asked.host == "calm.test":
            await asked.answer(b"", status="404 Not Found")
        else:
            await asked.silence()

    host.moods["robots.txt"] = robots_txt
    silent = [host.url(f"hang/{n}.jpg", name=f"h{n % 7}.test") for n in range(490)]
    with knowing(host, robots=robots) as hosts:
        found = Fetcher(hosts)(silent + _lasting(host), per_host=4)
    assert {got.reason for got in found[:490]} == {"timeout"}
    assert {got.reason for got in found[490:]} == {""}


def test_a_robots_txt_that_hangs_at_the_end_is_cut_off(host: PicturesHost) -> None:
    """The rows that wait for it end with it, and so does the task."""

    async def robots_txt(asked: Asked) -> None:
        if asked.host == "silent.test":
            await asked.silence()
        else:
            await asked.answer(b"", status="404 Not Found")

    host.moods["robots.txt"] = robots_txt
    urls = [host.url(f"good/{n}.jpg", name=f"h{n % 3}.test") for n in range(30)]
    urls += [host.url(f"good/{n}.jpg", name="silent.test") for n in range(30, 35)]
    with knowing(host, robots=True) as hosts:
        found = Fetcher(hosts)(urls, tail_least_s=0.5)
    assert {got.reason for got in found[:30]} == {""}
    assert {got.reason for got in found[30:]} == {"cut_off"}


@pytest.mark.usefixtures("impatient")
def test_rows_behind_a_host_that_fell_silent_do_not_keep_a_task(host: PicturesHost, fetch: Fetcher) -> None:
    """It gave pictures, then nothing more, with sixty rows left: they are not waited for two by two."""
    first = fetch([host.url(f"good/{n}.jpg", name="fell.test") for n in range(3)], per_host=2)
    assert {got.reason for got in first} == {""}
    urls = [host.url(f"hang/{n}.jpg", name="fell.test") for n in range(60)]
    urls += [host.url(f"good/{n}.jpg", name="calm.test") for n in range(60, 100)]
    began_s = time.monotonic()
    found = fetch(urls, per_host=2, tail_least_s=1.5)
    assert time.monotonic() - began_s < 20  # two by two, with half a minute for each, are many minutes
    assert {got.reason for got in found[:60]} == {"cut_off"}
    assert {got.reason for got in found[60:]} == {""}
    assert host.asked_of["fell.test"] <= 3 + 2 + 1  # and robots.txt


def test_rows_behind_a_slow_host_are_waited_for(host: PicturesHost, fetch: Fetcher) -> None:
    """At the end too, as long as pictures come of it: one at a time, much later than all others."""
    host.slow_s = 0.4
    urls = [host.url(f"good/{n}.jpg", name="fast.test") for n in range(30)]
    urls += [host.url(f"slow/{n}.jpg", name="slow.test") for n in range(30, 42)]
    found = fetch(urls, per_host=1, tail_least_s=0.8)
    assert {got.reason for got in found} == {""}


def test_so_many_tasks_take_rows_as_are_allowed_abreast(
    host: PicturesHost, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third waits until one of the others took its last row."""
    monkeypatch.setattr("g3m.adapters.crowd.WINDOW_ROWS", 4)
    host.slow_s = 0.1
    rows = [[Wanted(n, host.url(f"slow/{n}.jpg", name=f"h{k}.test")) for n in range(30)] for k in range(3)]
    with fetch.crowd(abreast=2, requests=4) as one, fetch.crowd(abreast=2, requests=4) as two:
        both = [one.fetch(iter(rows[0]), lambda: True), two.fetch(iter(rows[1]), lambda: True)]
        assert [next(told) for told in both] == [None, None]
        with fetch.crowd(abreast=2, requests=4) as three:
            third = three.fetch(iter(rows[2]), lambda: True)
            for _ in range(5):
                assert next(third) is None
            assert not host.asked_of["h2.test"]
            assert sum(got is not None for got in both[0]) == 30
            # At most half a minute of pauses: a turn that is never given back would be waited for without end.
            assert sum(got is not None for got in islice(third, 1500)) == 30
        assert sum(got is not None for got in both[1]) == 30
    assert fetch.hosts._turns == 0


def _waited(hosts: Hosts, host: str, waited_s: float) -> None:
    assert hosts.start(host, 16) == "yes"
    hosts.end(host, "timeout", waited_s=waited_s)


def test_silence_counts_only_while_others_answer() -> None:
    """And a host fails alone only if another answered after it began to fail."""
    now_s = 1000.0
    hosts = Hosts(monotonic=lambda: now_s)
    _waited(hosts, "early", PATIENCE_S)
    assert not hosts.failing("early")
    assert not hosts.fails_alone("early")
    now_s += 1.0
    assert hosts.start("calm", 16) == "yes"
    hosts.end("calm", "http_404")
    assert hosts.fails_alone("early")
    now_s += LIVELY_S - 0.1
    _waited(hosts, "silent", PATIENCE_S)
    assert hosts.failing("silent") == "timeout"
    assert hosts.start("silent", 16) == "silent"
    assert hosts.fails_alone("silent")  # it was waited for already when the other answered
    now_s += 0.2
    _waited(hosts, "late", PATIENCE_S)
    assert not hosts.failing("late")
    assert not hosts.fails_alone("late")
    now_s += LONGEST_REST_S
    assert hosts.start("silent", 16) == "yes"
    assert hosts.start("silent", 16) == "silent"
    hosts.end("silent", "")
    assert hosts.start("silent", 16) == "yes"
    assert hosts.answered("silent")
    hosts.close()
