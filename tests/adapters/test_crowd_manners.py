"""adapters/crowd.py: how hosts are treated, when rows are tried again, and when all of it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.adapters.crowding import Fetcher, drained, knowing
from tests.pictures_host import HTML, Asked, PicturesHost, picture, pictures_host

from g3m.adapters.crowd import Wanted
from g3m.adapters.pace import Pace
from g3m.core.errors import Interrupted, Unreachable
from g3m.core.limits import Timetable

BUSY, CALM = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host((BUSY, CALM)) as host:
        yield host


@pytest.fixture
def fetch(host: PicturesHost) -> Iterator[Fetcher]:
    with knowing(host) as hosts:
        yield Fetcher(hosts)


def test_a_host_never_has_more_requests_than_its_limit(host: PicturesHost, fetch: Fetcher) -> None:
    """Counted by the server: two crowds at once on two hosts share the limit of each, and use it."""
    host.slow_s = 0.02
    urls = [host.url(f"slow/{n}.jpg", name=f"h{n % 2}.test") for n in range(120)]
    found: list[str] = []
    crowds = [
        threading.Thread(target=lambda: found.extend(got.reason for got in fetch(urls, per_host=5)))
        for _ in range(2)
    ]
    for crowd in crowds:
        crowd.start()
    for crowd in crowds:
        crowd.join(60)
    assert found == [""] * 240
    assert host.most_by_host == {"h0.test": 5, "h1.test": 5}


def test_no_more_requests_than_allowed_at_once(host: PicturesHost, fetch: Fetcher) -> None:
    """The limit of a task, over all hosts."""
    host.slow_s = 0.02
    fetch((host.url(f"slow/{n}.jpg", name=f"h{n}.test") for n in range(100)), requests=7)
    assert host.most_at_once == 7


def test_rows_of_other_hosts_pass_those_that_wait(host: PicturesHost, fetch: Fetcher) -> None:
    """A list that begins with many rows of one slow host: the others do not wait for it."""
    host.slow_s = 0.1
    urls = [host.url(f"slow/{n}.jpg", name="slow.test") for n in range(20)]
    urls += [host.url(f"good/{n}.jpg", name="fast.test") for n in range(50)]
    with fetch.crowd(per_host=2) as crowd:
        order = [got.number for got in drained(crowd, [Wanted(n, url) for n, url in enumerate(urls)])]
    assert sorted(order) == list(range(70))
    assert sum(number >= 20 for number in order[:40]) >= 25


def test_what_has_no_room_is_not_begun(host: PicturesHost, fetch: Fetcher) -> None:
    """While the caller says no nothing is asked for; then it goes on."""
    taken, room = 0, threading.Event()

    def rows() -> Iterator[Wanted]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield Wanted(number, host.url(f"good/{number}.jpg"))

    with fetch.crowd() as crowd:
        found, pauses = 0, 0
        for got in crowd.fetch(rows(), room.is_set):
            found += got is not None
            pauses += got is None
            if pauses == 3 and not room.is_set():
                assert (taken, found) == (0, 0)
                room.set()
    assert (taken, found) == (50, 50)


def test_rows_that_wait_for_a_place_at_their_host_wait_for_room_too(
    host: PicturesHost, fetch: Fetcher
) -> None:
    """A list of one host, full of rows before its door: none of them begins while there is no room."""
    urls = [host.url(f"good/{n}.jpg", name="one.test") for n in range(200)]
    taken: list[int] = []
    may_go_on = threading.Event()

    def has_room() -> bool:
        return len(taken) < 20 or may_go_on.is_set()

    with fetch.crowd(per_host=4, requests=64) as crowd:
        quiet = 0
        for got in crowd.fetch(iter([Wanted(n, url) for n, url in enumerate(urls)]), has_room):
            if got is not None:
                taken.append(got.number)
            elif len(taken) >= 20 and not may_go_on.is_set():
                quiet += 1
                if quiet > 10:
                    assert sum(host.asked.values()) <= 20 + 2 * 4  # what ends together wakes as many
                    may_go_on.set()
    assert sorted(taken) == list(range(200))


def test_a_host_that_asks_to_wait_is_left_alone_so_long(host: PicturesHost, fetch: Fetcher) -> None:
    """429 with Retry-After: nothing is asked of it before, everything comes in the end; others go on."""
    host.retry_after = "2"
    urls = [host.url("throttle/0.jpg", at=BUSY)]
    urls += [host.url(f"good/{n}.jpg", at=BUSY) for n in range(1, 4)]
    urls += [host.url(f"good/{n}.jpg", at=CALM) for n in range(4, 40)]
    found = fetch(urls, per_host=1)
    assert [got.body for got in found] == [picture(n) for n in range(40)]
    assert found[0].attempts == 2
    began_s, again_s = host.asked_at["throttle/0.jpg"]
    assert again_s - began_s >= 1.9
    assert all(host.asked_at[f"good/{n}.jpg"][0] - began_s >= 1.9 for n in range(1, 4))
    assert min(host.asked_at[f"good/{n}.jpg"][0] for n in range(4, 40)) < again_s


def test_second_tries_are_few_and_come_last(host: PicturesHost, fetch: Fetcher) -> None:
    """What may succeed is tried up to three times, behind all other rows; what may not, once."""
    paths = ["flaky/0.jpg", "cut/1.jpg", "refuse/2.jpg", "missing/3.jpg", "noai/4.jpg"]
    paths += [f"good/{n}.jpg" for n in range(5, 60)]
    found = fetch((host.url(path) for path in paths), requests=4)
    tries = {path: host.asked[path] for path in paths[:5]}
    # Where a connection that was kept breaks without a word, libcurl itself asks once more over a new one.
    assert tries.pop("refuse/2.jpg") >= 3
    assert tries == {"flaky/0.jpg": 2, "cut/1.jpg": 3, "missing/3.jpg": 1, "noai/4.jpg": 1}
    assert [got.attempts for got in found[:5]] == [2, 3, 3, 1, 1]
    assert [got.reason for got in found[:5]] == ["", "partial", "unreachable", "http_404", "opt_out"]
    last_fresh_s = max(host.asked_at[path][0] for path in paths)
    assert min(host.asked_at[path][1] for path in paths[:2]) >= last_fresh_s
    assert host.asked_at["refuse/2.jpg"][-1] >= last_fresh_s


def test_a_host_in_ruins_costs_a_tenth_more_requests_and_no_more(host: PicturesHost, fetch: Fetcher) -> None:
    """Two hundred rows that all break: the second tries have a budget."""
    found = fetch(host.url(f"cut/{n}.jpg", name=f"h{n % 40}.test") for n in range(200))
    assert {got.reason for got in found} == {"partial"}
    assert 200 < sum(host.asked.values()) <= 220


def test_the_tail_is_cut_by_its_rule(host: PicturesHost, fetch: Fetcher) -> None:
    """Thirty rows come, two hang: those are cut off long before their own limit, the good ones are whole."""
    paths = [f"good/{n}.jpg" for n in range(30)] + ["hang/30.jpg", "drip/31.jpg"]
    host.drip_s = 0.2
    began_s = time.monotonic()
    found = fetch((host.url(path, name=f"h{n}.test") for n, path in enumerate(paths)), tail_least_s=0.5)
    assert [got.reason for got in found[30:]] == ["cut_off", "cut_off"]
    assert {got.reason for got in found[:30]} == {""}
    assert time.monotonic() - began_s < 15
    assert min(got.seconds for got in found[30:]) >= 0.5


def test_what_is_slow_like_the_others_is_not_cut_off(host: PicturesHost, fetch: Fetcher) -> None:
    """Where everything takes its time, so may the last ones."""
    host.slow_s = 0.6
    found = fetch((host.url(f"slow/{n}.jpg") for n in range(20)), per_host=4, tail_least_s=0.1)
    assert {got.reason for got in found} == {""}


def test_rows_of_a_host_that_only_rests_do_not_keep_a_task(host: PicturesHost, fetch: Fetcher) -> None:
    """One host says 503 for ever, with forty rows: they end with its reason, few of them were asked for."""
    urls = [host.url(f"busy/{n}.jpg", name="busy.test") for n in range(40)]
    urls += [host.url(f"good/{n}.jpg", name="calm.test") for n in range(40, 80)]
    began_s = time.monotonic()
    found = fetch(urls, tail_least_s=1.0, per_host=2)
    assert {got.reason for got in found[:40]} == {"http_503"}
    assert {got.reason for got in found[40:]} == {""}
    assert host.asked_of["busy.test"] < 20
    assert time.monotonic() - began_s < 20


def test_a_window_full_of_rows_that_rest_is_emptied(
    host: PicturesHost, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list sorted by hosts, the first of which rests: the rows behind it come all the same."""
    monkeypatch.setattr("g3m.adapters.crowd.WINDOW_ROWS", 20)
    host.retry_after = "60"
    urls = [host.url(f"throttle/{n}.jpg", name="busy.test") for n in range(50)]
    urls += [host.url(f"good/{n}.jpg", name="calm.test") for n in range(50, 60)]
    found = fetch(urls, total_s=1.0, tail_least_s=0.2, per_host=1)
    assert {got.reason for got in found[:50]} == {"http_429"}
    assert {got.reason for got in found[50:]} == {""}
    assert host.asked_of["busy.test"] == 1


def test_a_dead_network_fails_the_task_and_no_row(fetch: Fetcher) -> None:
    """Nobody listens anywhere: after fifty rows it is over, with a hint."""
    wanted = [Wanted(n, f"http://h{n % 9}.test:1025/{n}.jpg") for n in range(3000)]
    told = 0
    with fetch.crowd() as crowd, pytest.raises(Unreachable, match="network") as caught:
        for _ in drained(crowd, wanted):
            told += 1
    assert told < 600
    assert all(caught.value.hint)


def test_rows_that_failed_before_may_all_fail_again(fetch: Fetcher) -> None:
    """With the alarm off the same list ends, every row with its reason."""
    found = fetch((f"http://h{n % 9}.test:1025/{n}.jpg" for n in range(120)), alarm=False, tail_least_s=0.1)
    assert {got.reason for got in found} == {"unreachable"}


def test_a_login_page_fails_the_task(host: PicturesHost, fetch: Fetcher) -> None:
    """Every host answers with one page: that is the network, not the pictures."""
    wanted = [Wanted(n, host.url(f"html/{n}.jpg", name=f"h{n % 6}.test")) for n in range(200)]
    with fetch.crowd() as crowd, pytest.raises(Unreachable, match="same page"):
        list(drained(crowd, wanted))


def test_a_host_of_pages_is_only_that_host(host: PicturesHost, fetch: Fetcher) -> None:
    """One host that answers everything with a page is no login page of the network."""
    found = fetch(host.url(f"html/{n}.jpg", name="pages.test") for n in range(60))
    assert {got.body for got in found} == {HTML}


def test_a_request_to_stop_is_heard(host: PicturesHost, fetch: Fetcher) -> None:
    """Although every host is silent."""
    stop = threading.Event()
    fetch.stopping = stop.is_set
    wanted = [Wanted(n, host.url(f"hang/{n}.jpg", name=f"h{n}.test")) for n in range(40)]
    with fetch.crowd() as crowd:
        told = crowd.fetch(iter(wanted), lambda: True)
        while host.at_once < 40:
            assert next(told) is None
        stop.set()
        asked_s = time.monotonic()
        with pytest.raises(Interrupted):
            list(told)
    assert time.monotonic() - asked_s < 20  # thirty seconds are what a row may take


def test_the_caller_hears_something_often(host: PicturesHost, fetch: Fetcher) -> None:
    """While nothing comes the crowd says so, several times a second."""
    with fetch.crowd(total_s=1.5) as crowd:
        told = list(crowd.fetch(iter([Wanted(0, host.url("hang/0.jpg"))]), lambda: True))
    assert told.count(None) >= 5
    assert [got.reason for got in told if got is not None] == ["timeout"]


def test_what_is_under_way_has_a_bound_in_memory(host: PicturesHost, fetch: Fetcher) -> None:
    """Twelve hosts each send a body without end: beyond the bound one goes on and the others pause."""

    async def flood(asked: Asked) -> None:
        await asked.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await asked.send(bytes(2**18))
            await asyncio.sleep(0.005)  # so that all of them grow together

    host.moods["flood"] = flood
    most = 0
    limits = {"held_bytes": 4_000_000, "body_bytes": 6_000_000, "total_s": 20.0}
    with fetch.crowd(**limits) as crowd:
        wanted = [Wanted(n, host.url(f"flood/{n}", name=f"h{n}.test")) for n in range(12)]
        reasons = Counter()
        for got in crowd.fetch(iter(wanted), lambda: True):
            most = max(most, sum(slot.size for slot in crowd._wire.slots))
            if got is not None:
                reasons[got.reason] += 1
    assert reasons == {"too_big": 12}
    assert 2_000_000 < most <= 4_000_000 + 6_000_000


def test_bytes_are_booked_for_the_limit_of_bandwidth(host: PicturesHost, fetch: Fetcher) -> None:
    """With a limit the same list takes as long as its bytes do."""
    urls = [host.url(f"good/{n}.jpg") for n in range(40)]
    total = sum(len(picture(n)) for n in range(40))
    fetch.pace = Pace(Timetable.parse(f"{total // 2048}K"), time.monotonic)
    began_s = time.monotonic()
    found = fetch(urls, requests=2)
    assert [got.body for got in found] == [picture(n) for n in range(40)]
    assert time.monotonic() - began_s >= 0.4


# robots.txt


@pytest.fixture
def polite(host: PicturesHost) -> Iterator[Fetcher]:
    with knowing(host, robots=True) as hosts:
        yield Fetcher(hosts)


def test_robots_txt_is_asked_for_once_and_first(host: PicturesHost, polite: Fetcher) -> None:
    """One request for each origin, before any other; its rules hold, for tasks that come later too."""
    host.robots = "User-agent: g3m\nDisallow: /good/private\n"
    paths = [f"good/{n}.jpg" for n in range(30)] + ["good/private/30.jpg"]
    for _ in range(2):
        found = polite(host.url(path, name=f"h{n % 3}.test") for n, path in enumerate(paths))
        assert [got.reason for got in found] == [""] * 30 + ["robots"]
    assert host.asked["robots.txt"] == 3
    assert host.asked["good/private/30.jpg"] == 0
    first_s = max(host.asked_at["robots.txt"][:3])
    assert host.last_headers["robots.txt"]["user-agent"] == "g3m-test/1"
    assert min(times[0] for path, times in host.asked_at.items() if path != "robots.txt") <= first_s + 60


def test_a_host_without_robots_txt_allows_all(host: PicturesHost, polite: Fetcher) -> None:
    """404 is no opinion; nor is a redirect that leads nowhere."""
    assert polite([host.url("good/1.jpg", name="a.test")])[0].reason == ""

    async def loop(asked: Asked) -> None:
        await asked.answer(b"", "Location: /robots.txt", status="302 Found")

    host.moods["robots.txt"] = loop
    assert polite([host.url("good/1.jpg", name="b.test")])[0].reason == ""


def test_a_host_whose_robots_txt_is_in_trouble_is_left_alone(host: PicturesHost, polite: Fetcher) -> None:
    """503 for robots.txt: nothing else is asked, and the rows may be tried another day."""
    host.robots, host.robots_status = "User-agent: *\nAllow: /\n", "500 Internal Server Error"
    found = polite(host.url(f"good/{n}.jpg", name="a.test") for n in range(20))
    assert {got.reason for got in found} == {"http_500"}
    assert "robots.txt" in found[0].detail
    assert set(host.asked) == {"robots.txt"}
    assert host.asked["robots.txt"] <= 3


def test_a_silent_host_is_waited_for_once(host: PicturesHost, polite: Fetcher) -> None:
    """If robots.txt does not come the rows of that host are not waited for one by one."""

    async def hang(asked: Asked) -> None:
        await asked.silence()

    host.moods["robots.txt"] = hang
    found = polite((host.url(f"good/{n}.jpg", name="a.test") for n in range(20)), total_s=1.0)
    assert {got.reason for got in found} <= {"timeout", "cut_off"}  # both are due after one second
    assert host.asked == {"robots.txt": 1}


def test_redirects_meet_the_robots_txt_of_where_they_lead(host: PicturesHost, polite: Fetcher) -> None:
    """A host that forbids is not reached through another one."""
    from tests.pictures_host import away

    host.robots_of["closed.test"] = "User-agent: *\nDisallow: /\n"
    target = host.url("good/1.jpg", name="closed.test")
    [got] = polite([host.url(away(target), name="open.test")])
    assert got.reason == "robots"
    assert host.asked["good/1.jpg"] == 0


def test_two_tasks_ask_for_robots_txt_once(host: PicturesHost, polite: Fetcher) -> None:
    """Whoever comes second waits for what the first one learns; a task that ends early leaves it to others."""

    async def slow(asked: Asked) -> None:
        await asyncio.sleep(0.3)
        await asked.answer(b"User-agent: *\nDisallow: /good/1.jpg\n")

    host.moods["robots.txt"] = slow
    with polite.crowd() as crowd:
        told = crowd.fetch(iter([Wanted(0, host.url("good/1.jpg", name="a.test"))]), lambda: True)
        while not host.asked["robots.txt"]:
            next(told)
    found: list[str] = []
    tasks = [
        threading.Thread(
            target=lambda n=n: found.append(polite([host.url(f"good/{n}.jpg", name="a.test")])[0].reason)
        )
        for n in (1, 2)
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
    assert sorted(found) == ["", "robots"]
    assert host.asked["robots.txt"] == 2


def test_rows_whose_names_come_one_by_one_are_no_tail(host: PicturesHost) -> None:
    """A slow name server slows the end down; as long as names come, no row is cut off for it."""

    def look_up(name: str, *_: Any, **__: Any) -> Any:
        time.sleep(0.1)
        return host.look_up(name)

    with knowing(host, look_up=look_up) as hosts:
        hosts.names._lookups = 1
        urls = [host.url(f"good/{n}.jpg", name=f"h{n}.test") for n in range(40)]
        found = Fetcher(hosts)(urls, tail_least_s=1.5)
    assert {got.reason for got in found} == {""}


def test_a_robots_txt_is_no_picture(host: PicturesHost) -> None:
    """A single host that says what is allowed, and then nothing more, is no sign of a dead network."""
    host.robots = "User-agent: *\nDisallow: /private\n"
    with knowing(host, robots=True) as hosts:
        urls = [host.url(f"refuse/{n}.jpg", name="a.test") for n in range(60)]
        found = Fetcher(hosts)(urls, retries=0, tail_least_s=0.1, total_s=5.0)
    assert {got.reason for got in found} == {"unreachable"}


@pytest.mark.parametrize("path", ["open/../good/1.jpg", "open/%2e%2E/good/1.jpg", "./good/1.jpg"])
def test_dots_lead_round_no_rule(host: PicturesHost, path: str) -> None:
    """libcurl asks for the path without its dots, so that is what robots.txt is asked about."""
    host.robots = "User-agent: *\nDisallow: /good\n"
    with knowing(host, robots=True) as hosts:
        [got] = Fetcher(hosts)([host.url(path, name="a.test")])
    assert (got.reason, host.asked["good/1.jpg"]) == ("robots", 0)
